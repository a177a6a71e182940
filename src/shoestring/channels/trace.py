"""From a module to its table: trace one forward pass, try what the table says, freeze what does not hold."""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shoestring.channels.rules import RULES
from shoestring.channels.surgery import drop, reorder, silence
from shoestring.channels.table import Kept, Table, tabulate
from shoestring.channels.tracer import Tracer

_TOLERANCE = 1e-4  # of the largest output, in float32


def trace(module: nn.Module, example: Tensor, *, verify: bool = True) -> Table:
    """The channel table of a module, from one forward pass of `example` (N, C, H, W) in evaluation mode.

    Channels of the input and of the output, and those that meet an operation without a rule, are never cut; `notes`
    names the operation. With `verify` half of all channels is cut for trial: the result must run, keep the shapes of
    the outputs, and give what silencing the same channels gives; where statistics over channels change, the order of
    the channels must not matter instead. Groups for which this does not hold are frozen and noted. The module is left
    as it is.

    Raises `ValueError` when the module itself fails on the example. A module that runs but cannot be traced gives a
    table without groups.
    """
    whole = copy.deepcopy(module).eval()
    expected = _outputs(whole, example)
    tracer = Tracer(module, RULES)
    try:
        tracer.run(example)
        table = tabulate(module, tracer)
    except Exception as error:  # whatever a foreign module does with its tensors: it is then left whole
        table = tabulate(module, Tracer(module, RULES))
        told = str(error).splitlines()[0] if str(error) else ""
        return table.without(set(), f"nothing can be cut: {type(error).__name__}: {told}")
    return _verified(whole, table, example, expected) if verify else table


def _outputs(module: nn.Module, example: Tensor) -> Sequence[Tensor]:
    """All tensors that the module gives; `ValueError` when it fails."""
    from torch.utils._pytree import tree_leaves

    try:
        with torch.no_grad():
            return [leaf for leaf in tree_leaves(module(example)) if isinstance(leaf, Tensor)]
    except Exception as error:
        shape = tuple(example.shape)
        raise ValueError(f"the model fails on an example of shape {shape}: {type(error).__name__}: {error}") from error


def _verified(module: nn.Module, table: Table, example: Tensor, expected: Sequence[Tensor]) -> Table:
    generator = torch.Generator().manual_seed(0)
    kept = {name: _half(group.size, generator) for name, group in table.groups.items() if group.size > 1}

    def holds(names: Sequence[str]) -> bool:
        return _holds(module, table, {name: kept[name] for name in names}, example, expected)

    bad = _culprits(list(kept), holds)
    if not bad:
        return table
    return table.without(bad, f"channels of {', '.join(sorted(bad))} stay: cut for trial, the model did not hold.")


def _half(size: int, generator: torch.Generator) -> Tensor:
    """Half of the indices below `size`, at random, but neither the first nor the last ones, which hide fixed slices."""
    while True:
        kept = torch.randperm(size, generator=generator)[: (size + 1) // 2].sort().values
        if size < 3 or (kept[-1] - len(kept) + 1 > 0 and kept[0] < size - len(kept)):
            return kept


def _culprits(names: list[str], holds) -> set[str]:
    """The groups to leave out so that the rest can be cut together, by bisection."""
    if not names or holds(names):
        return set()
    if len(names) == 1:
        return set(names)
    middle = len(names) // 2
    bad = _culprits(names[:middle], holds) | _culprits(names[middle:], holds)
    rest = [name for name in names if name not in bad]
    if bad and len(rest) < len(names) and holds(rest):
        return bad
    return bad | (set() if not rest or holds(rest) else _clash(rest, holds))


def _clash(names: list[str], holds) -> set[str]:
    """Groups that hold alone but not together: keep as many as go, one after the other."""
    good: list[str] = []
    for name in names:
        if holds([*good, name]):
            good.append(name)
    return set(names) - set(good)


def _holds(module: nn.Module, table: Table, kept: Kept, example: Tensor, expected: Sequence[Tensor]) -> bool:
    """Whether the module cut like this runs, keeps the shapes of its outputs, and mistakes no channel for another.

    Separable channels may as well be silenced. With others the order of those that stay must not matter.
    """
    smaller = drop(module, table, kept)
    try:
        found = _outputs(smaller, example)
    except ValueError:
        return False
    if [one.shape for one in found] != [one.shape for one in expected]:
        return False
    separable = {name: own for name, own in kept.items() if table.groups[name].separable}
    if len(separable) == len(kept):
        return _same(found, _outputs(silence(module, table, kept), example))
    if separable and not _holds(module, table, separable, example, expected):
        return False
    every = {name: torch.arange(table.groups[name].size) for name in kept}
    return _same(expected, _outputs(_turned(module, table, every), example)) and _same(
        found, _outputs(_turned(smaller, table, kept), example)
    )


def _turned(module: nn.Module, table: Table, kept: Kept) -> nn.Module:
    return reorder(module, table, kept, {name: own.flip(0) for name, own in kept.items()})


def _same(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    return all(
        bool((one - other).abs().max() <= _TOLERANCE * other.abs().max().clamp_min(1e-6))
        for one, other in zip(found, expected)
        if one.is_floating_point() and one.numel()
    )
