"""Which residual blocks of a network pass on what comes in once some of their weights are zero: found by trying."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from shoestring.channels.trial import lively

Call = tuple[tuple[Any, ...], dict[str, Any]]
_FAR = 8.0  # times the example, so that functions which clip are seen to


def identities(module: nn.Module, example: Tensor) -> dict[str, list[str]]:
    """The blocks, by name, and the names of the weights that make the identity of each when they are zero.

    Looked at are the members of `nn.Sequential` and `nn.ModuleList` that one pass of `example` (N, C, H, W) calls once.
    A block must give exactly what came in, in both modes and whatever its other weights are, with as few and as late
    trainable weights at zero as will do, and each of these must get a gradient there. The module is left as it is.
    """
    trial = lively(module)
    uses = Counter(id(weight) for part in trial.modules() for weight in part._parameters.values())
    calls = _calls(copy.deepcopy(trial), torch.cat([example, _FAR * example]))  # batch norms need two images
    found: dict[str, list[str]] = {}
    with torch.random.fork_rng([example.device] if example.is_cuda else []):
        for name, (call, *again) in calls.items():
            block = trial.get_submodule(name)
            own = {k: w for k, w in block.named_parameters() if w.requires_grad and uses[id(w)] == 1}
            if not again and (zeros := _zeros(block, own, call)):
                found[name] = [f"{name}.{key}" for key in zeros]
    return _apart(found)


def members(module: nn.Module) -> Iterator[list[str]]:
    """The names of all members of each `nn.Sequential` and `nn.ModuleList` in a module."""
    for name, part in module.named_modules():
        if isinstance(part, nn.Sequential | nn.ModuleList):
            yield [f"{name}.{key}".removeprefix(".") for key, _ in part.named_children()]


def _calls(module: nn.Module, images: Tensor) -> dict[str, list[Call]]:
    """What each member is called with, one tensor at least."""
    calls: dict[str, list[Call]] = {}

    def note(name: str, part: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if args and isinstance(args[0], Tensor):
            calls.setdefault(name, []).append(_cloned((args, kwargs)))  # it may be changed in place

    for name in (name for names in members(module) for name in names):
        module.get_submodule(name).register_forward_pre_hook(partial(note, name), with_kwargs=True)
    with torch.no_grad():
        module(images)
    return calls


def _zeros(block: nn.Module, weights: Mapping[str, Tensor], call: Call) -> list[str]:
    """The weights that have to be zero, none when the block cannot be the identity or would never leave it.

    All are zero first and get their values back from the first to the last, so that the last ones stay: a weight behind
    which nothing is zero gets a gradient.
    """
    values, zeros = {name: weight.detach().clone() for name, weight in weights.items()}, []
    with torch.no_grad():
        for weight in weights.values():
            weight.zero_()
        if weights and _passes_on(block, call):
            for name, weight in weights.items():
                weight.copy_(values[name])
                if not _passes_on(block, call):
                    weight.zero_()
                    zeros.append(name)
    learns = bool(zeros) and _learns(block, [weights[name] for name in zeros], call)
    with torch.no_grad():
        for name, weight in weights.items():
            weight.copy_(values[name])
    return zeros if learns else []


def _passes_on(block: nn.Module, call: Call) -> bool:
    for training in (False, True):
        args, kwargs = _cloned(call)
        output, expected = block.train(training)(*args, **kwargs), call[0][0]
        if not isinstance(output, Tensor) or output.shape != expected.shape or not bool((output == expected).all()):
            return False
    return True


def _learns(block: nn.Module, zeros: list[Tensor], call: Call) -> bool:
    args, kwargs = _cloned(call)
    output = block.eval()(*args, **kwargs)  # in training, stochastic depth may leave it out
    gradients = torch.autograd.grad(output, zeros, torch.randn_like(output), allow_unused=True)
    return all(gradient is not None and bool(gradient.any()) for gradient in gradients)


def _apart(found: dict[str, list[str]]) -> dict[str, list[str]]:
    """Without stages that are nothing but their blocks one after the other, and without blocks inside of blocks."""

    def inside(name: str) -> set[str]:
        return {weight for other, zeros in found.items() if other.startswith(f"{name}.") for weight in zeros}

    blocks = {name: zeros for name, zeros in found.items() if not inside(name).issuperset(zeros)}
    return {n: zeros for n, zeros in blocks.items() if not any(n.startswith(f"{other}.") for other in blocks)}


def _cloned(call: Call) -> Call:
    return tree_map(lambda value: value.clone() if isinstance(value, Tensor) else value, call)
