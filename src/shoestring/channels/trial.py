"""Trying before believing: does a changed module still do what it should, and if not, which groups are to blame."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves


def outputs(module: nn.Module, example: Tensor) -> list[Tensor]:
    """All tensors that the module gives for an example; `ValueError` when it fails."""
    try:
        with torch.no_grad():
            return [leaf.detach() for leaf in tree_leaves(module(example)) if isinstance(leaf, Tensor)]
    except Exception as error:
        shape = tuple(example.shape)
        raise ValueError(f"the model fails on an example of shape {shape}: {type(error).__name__}: {error}") from error


def same(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Whether two lists of outputs agree in their shapes, and in their values as far as their precision allows."""
    if [one.shape for one in found] != [one.shape for one in expected]:
        return False
    return all(
        bool((one - other).abs().max() <= torch.finfo(one.dtype).eps ** 0.5 * other.abs().max().clamp_min(1e-6))
        for one, other in zip(found, expected)
        if one.is_floating_point() and one.numel()
    )


def lively(module: nn.Module) -> nn.Module:
    """A copy in evaluation mode whose weights all matter: scales and weights that start at zero hide mistakes."""
    generator = torch.Generator().manual_seed(0)
    whole = copy.deepcopy(module).eval()

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
