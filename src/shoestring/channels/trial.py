"""Trying before believing: does a changed module still do what it should, and if not, which groups are to blame."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

Network = TypeVar("Network", bound=nn.Module)


def copied(module: Network) -> Network:
    """A deep copy of a module; `ValueError` that says how to mend one that cannot be copied."""
    try:
        return copy.deepcopy(module)
    except Exception as error:
        told = f"the network cannot be copied ({type(error).__name__})"
        raise ValueError(f"{told}: {_remedy(module) or str(error).splitlines()[0]}") from error


def _remedy(module: nn.Module) -> str:
    """How to be rid of hooks that compute weights anew for every pass, which keep a module from being copied."""
    for name, layer in module.named_modules():
        for hook in layer._forward_pre_hooks.values():
            weight = getattr(hook, "name", None) or getattr(hook, "_tensor_name", None)
            kind = type(hook).__name__
            if weight is None or not isinstance(getattr(layer, weight, None), Tensor):
                continue
            calls = {"WeightNorm": "remove_weight_norm", "SpectralNorm": "remove_spectral_norm"}
            call = f"torch.nn.utils.{calls[kind]}" if kind in calls else "torch.nn.utils.prune.remove"
            call = f"{call}(layer, '{weight}')"
            return f"'{name}' computes its {weight} before each pass; make it an ordinary one with {call}."
    return ""


def outputs(module: nn.Module, example: Tensor) -> list[Tensor]:
    """All tensors and numbers that the module gives for an example; `ValueError` when it fails."""
    try:
        with torch.no_grad():
            return [leaf.detach() for leaf in leaves(module(example))]
    except Exception as error:
        shape = tuple(example.shape)
        raise ValueError(f"the model fails on an example of shape {shape}: {type(error).__name__}: {error}") from error


def leaves(values: Any) -> Iterator[Tensor]:
    """All tensors, arrays and numbers in nested outputs: mappings, sequences, data classes and other objects."""
    seen: set[int] = set()
    waiting = [values]
    while waiting:
        one = waiting.pop(0)
        if isinstance(one, Tensor):
            yield one
        elif isinstance(one, bool | int | float | complex | np.ndarray | np.generic):
            yield torch.as_tensor(one)
        elif id(one) not in seen and not isinstance(one, str | bytes | type | nn.Module):
            seen.add(id(one))
            if isinstance(one, Mapping):
                waiting += one.values()
            elif isinstance(one, Iterable) and not isinstance(one, Iterator):
                waiting += one
            elif hasattr(one, "__dict__"):
                waiting += vars(one).values()


def same(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Whether two lists of outputs agree in shapes and types, and in their values as far as their precision allows.

    Whole numbers and truth values agree exactly, what is infinite or no number at the same places.
    """
    if [(one.shape, one.dtype) for one in found] != [(one.shape, one.dtype) for one in expected]:
        return False
    return all(_close(one, other) for one, other in zip(found, expected))


def _close(one: Tensor, other: Tensor) -> bool:
    if not (one.is_floating_point() or one.is_complex()):
        return torch.equal(one, other)
    finite = other.isfinite()
    strange, expected = one[~finite], other[~finite]
    if not torch.equal(one.isfinite(), finite) or not torch.equal(strange.isnan(), expected.isnan()):
        return False
    if not torch.equal(strange[~strange.isnan()], expected[~expected.isnan()]):
        return False
    difference, size = (one - other)[finite].abs(), other[finite].abs()
    limit = torch.finfo(one.dtype).eps ** 0.5
    return not size.numel() or bool(difference.max() <= limit * size.max().clamp_min(1e-6))


def lively(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose weights all matter: scales and weights that start at zero hide mistakes."""
    generator = torch.Generator().manual_seed(0)
    whole = copied(module).eval()

    def uniform(tensor: Tensor, low: float, high: float) -> Tensor:
        return (low + (high - low) * torch.rand(tensor.shape, generator=generator)).to(tensor)

    for parameter in whole.parameters():
        if not parameter.is_floating_point() or not parameter.numel():
            continue
        if parameter.numel() == max(parameter.shape, default=1):  # one number for each channel
            parameter.data = uniform(parameter, 0.5, 1.5)
        elif bool((parameter.abs() < 1e-3).all()):
            drawn = torch.randn(parameter.shape, generator=generator) / parameter[0].numel() ** 0.5
            parameter.data = drawn.to(parameter)
    for name, buffer in whole.named_buffers():
        if name.endswith("running_mean"):
            buffer.data = uniform(buffer, -0.2, 0.2)
        if name.endswith("running_var"):
            buffer.data = uniform(buffer, 0.5, 1.5)
    return whole


def culprits(names: Sequence[str], holds: Callable[[list[str]], bool]) -> set[str]:
    """The groups to leave out so that all the others hold together, found by bisection."""
    names = list(names)
    if not names or holds(names):
        return set()
    if len(names) == 1:
        return set(names)
    middle = len(names) // 2
    bad = culprits(names[:middle], holds) | culprits(names[middle:], holds)
    rest = [name for name in names if name not in bad]
    if bad and (not rest or holds(rest)):
        return bad
    good: list[str] = []  # some hold alone but not together: take as many as go, one after the other
    for name in rest:
        if holds([*good, name]):
            good.append(name)
    return set(names) - set(good)
