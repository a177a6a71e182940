"""Residual blocks that become the identity when some of their weights are zero, found by trying."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from shoestring.channels.copying import nondegenerate_copy

Call = tuple[tuple[Any, ...], dict[str, Any]]
_LARGE = 8.0  # times the example: detects functions that clip


def find_identity_blocks(module: nn.Module, example: Tensor) -> dict[str, list[str]]:
    """Return the blocks by name, with the names of the weights that must be zero to make each the identity.

    Candidates are the members of `nn.Sequential` and `nn.ModuleList` that a pass of `example` (N, C, H, W) calls once.
    A block must return exactly its input, in both modes and whatever its other weights are, with as few and as late
    trainable weights at zero as possible, and each of these must get a gradient there. The module is not changed.
    """
    copied = nondegenerate_copy(module)
    uses = Counter(id(weight) for part in copied.modules() for weight in part._parameters.values())
    calls = _record_calls(copy.deepcopy(copied), torch.cat([example, _LARGE * example]))  # batch norms need two images
    blocks: dict[str, list[str]] = {}
    with torch.random.fork_rng([example.device] if example.is_cuda else []):
        for name, (call, *repeated) in calls.items():
            block = copied.get_submodule(name)
            own = {k: w for k, w in block.named_parameters() if w.requires_grad and uses[id(w)] == 1}
            if not repeated and (zeros := _find_zeros(block, own, call)):
                blocks[name] = [f"{name}.{key}" for key in zeros]
    return _exclude_nested(blocks)


def container_members(module: nn.Module) -> Iterator[list[str]]:
    """Iterate over the names of the members of each `nn.Sequential` and `nn.ModuleList` in a module."""
    for name, part in module.named_modules():
        if isinstance(part, nn.Sequential | nn.ModuleList):
            yield [f"{name}.{key}".removeprefix(".") for key, _ in part.named_children()]


def _record_calls(module: nn.Module, images: Tensor) -> dict[str, list[Call]]:
    """Return the arguments of each call of a member whose first argument is a tensor."""
    calls: dict[str, list[Call]] = {}

    def record(name: str, part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if args and isinstance(args[0], Tensor):
            calls.setdefault(name, []).append(_cloned((args, kwargs)))  # the block may change it in place

    for name in (name for names in container_members(module) for name in names):
        module.get_submodule(name).register_forward_pre_hook(partial(record, name), with_kwargs=True)
    with torch.no_grad():
        module(images)
    return calls


def _find_zeros(block: nn.Module, weights: Mapping[str, Tensor], call: Call) -> list[str]:
    """Return the weights that must be zero; none if the block cannot be the identity or could not learn from there.

    All are zero first and get their values back in order, so that the last ones remain zero: a weight followed by none
    that is zero gets a gradient.
    """
    values, zeros = {name: weight.detach().clone() for name, weight in weights.items()}, []
    with torch.no_grad():
        for weight in weights.values():
            weight.zero_()
        if weights and _is_identity(block, call):
            for name, weight in weights.items():
                weight.copy_(values[name])
                if not _is_identity(block, call):
                    weight.zero_()
                    zeros.append(name)
    learns = bool(zeros) and _gets_gradients(block, [weights[name] for name in zeros], call)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(values[name])
    return zeros if learns else []


def _is_identity(block: nn.Module, call: Call) -> bool:
    for training in (False, True):
        args, kwargs = _cloned(call)
        output, expected = block.train(training)(*args, **kwargs), call[0][0]
        if not isinstance(output, Tensor) or output.shape != expected.shape or not bool((output == expected).all()):
            return False
    return True


def _gets_gradients(block: nn.Module, zeros: list[Tensor], call: Call) -> bool:
    args, kwargs = _cloned(call)
    output = block.eval()(*args, **kwargs)  # in training mode, stochastic depth may skip the block
    gradients = torch.autograd.grad(output, zeros, torch.randn_like(output), allow_unused=True)
    return all(gradient is not None and bool(gradient.any()) for gradient in gradients)


def _exclude_nested(candidates: dict[str, list[str]]) -> dict[str, list[str]]:
    """Exclude stages that are only a sequence of their blocks, and blocks nested in other blocks."""

    def nested_zeros(name: str) -> set[str]:
        return {weight for other, zeros in candidates.items() if other.startswith(f"{name}.") for weight in zeros}

    blocks = {name: zeros for name, zeros in candidates.items() if not nested_zeros(name).issuperset(zeros)}
    return {n: zeros for n, zeros in blocks.items() if not any(n.startswith(f"{other}.") for other in blocks)}


def _cloned(call: Call) -> Call:
    return tree_map(lambda value: value.clone() if isinstance(value, Tensor) else value, call)
