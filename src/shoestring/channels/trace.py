"""From a module to its table: trace one forward pass, try what the table says, freeze what does not hold."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from shoestring.channels.rules import RULES
from shoestring.channels.surgery import drop, operate
from shoestring.channels.table import Kept, Table, named_tensors, tabulate
from shoestring.channels.tracer import Tracer
from shoestring.channels.trial import culprits, lively, outputs, same
from shoestring.channels.widen import doubled


def trace(module: nn.Module, example: Tensor, *, verify: bool = True) -> Table:
    """The channel table of a module, from one forward pass of `example` (N, C, H, W) in evaluation mode.

    Channels of the input and of the output, and those that meet an operation without a rule, are never cut; `notes`
    names the operation. With `verify` half of all channels is cut for trial: the result must run, keep the shapes of
    the outputs, and give what silencing the same channels gives; where statistics over channels change, the order of
    the channels must not matter instead. Groups for which this does not hold are frozen and noted. Then all channels
    are doubled for trial (`Group.copyable`). The module is left as it is.

    Raises `ValueError` when the module itself fails on the example. A module that runs but cannot be traced gives a
    table without groups.
    """
    outputs(copy.deepcopy(module).eval(), example)
    tracer = Tracer(module, RULES)
    try:
        tracer.run(example)
        table = tabulate(module, tracer)
    except Exception as error:  # whatever a foreign module does with its tensors: it is then left whole
        table = tabulate(module, Tracer(module, RULES))
        told = str(error).splitlines()[0] if str(error) else ""
        return table.without(set(), f"nothing can be cut: {type(error).__name__}: {told}")
    return _verified(module, table, example) if verify and table.groups else table


def silence(module: nn.Module, table: Table, kept: Kept) -> nn.Module:
    """A copy of the module of the same size in which no layer reads the channels that are not kept."""
    quiet = copy.deepcopy(module)
    named = named_tensors(quiet)
    gone = ~table.stays(kept)
    for name, dim in table.readers:
        numbers = table.axes.get((name, dim))
        if numbers is not None and gone[numbers].any():
            silent = gone[numbers].nonzero()[:, 0].to(named[name].device)
            named[name].data = named[name].data.index_fill(dim, silent, 0.0)
    return quiet


def reorder(smaller: nn.Module, table: Table, kept: Kept) -> nn.Module:
    """A copy of a module that `drop` made with these channels, in which they stand the other way around everywhere."""
    changed = copy.deepcopy(smaller)
    named = named_tensors(changed)
    stays = table.stays(kept)
    takes = torch.cat([torch.arange(table.size), torch.tensor([-1])])  # whose place each channel takes
    for name, own in kept.items():
        takes[table.groups[name].start + own] = table.groups[name].start + own.flip(0)
    for (name, dim), numbers in table.axes.items():
        numbers = numbers[stays[numbers]]
        source = torch.empty_like(numbers)  # equal numbers are equally many for all channels of a group
        source[takes[numbers].argsort(stable=True)] = numbers.argsort(stable=True)
        named[name].data = named[name].data.index_select(dim, source.to(named[name].device))
    return changed


def _verified(module: nn.Module, table: Table, example: Tensor) -> Table:
    generator = torch.Generator().manual_seed(0)
    if bool((example == example.flatten()[0]).all()):
        example = torch.randn(example.shape, generator=generator).to(example)
    whole = lively(module)
    expected = outputs(whole, example)
    kept = {name: _half(group.size, generator) for name, group in table.groups.items() if group.size > 1}

    def cut(names: Sequence[str]) -> bool:
        return _holds(whole, table, {name: kept[name] for name in names}, example, expected)

    if bad := culprits(list(kept), cut):
        told = f"channels of {', '.join(sorted(bad))} stay: cut for trial, the model did not hold."
        table = table.without(bad, told)

    def copied(names: Sequence[str]) -> bool:
        wider = operate(whole, table, {name: doubled(table.groups[name]) for name in names})
        return _runs_as(wider, example, expected)

    fixed = culprits(list(table.groups), copied)
    return replace(table, groups={n: replace(g, copyable=n not in fixed) for n, g in table.groups.items()})


def _half(size: int, generator: torch.Generator) -> Tensor:
    """About half of the indices below `size` at random; the first and the last go, which fixed slices ask for."""
    if size == 2:
        return torch.tensor([1])
    return (1 + torch.randperm(size - 2, generator=generator)[: max(1, size // 2)]).sort().values


def _holds(module: nn.Module, table: Table, kept: Kept, example: Tensor, expected: Sequence[Tensor]) -> bool:
    """Whether the module cut like this runs, keeps the shapes of its outputs, and mistakes no channel for another.

    Separable channels may as well be silenced. With others the order of those that stay must not matter.
    """
    smaller = drop(module, table, kept)
    try:
        found = outputs(smaller, example)
    except ValueError:
        return False
    if [one.shape for one in found] != [one.shape for one in expected]:
        return False
    separable = {name: own for name, own in kept.items() if table.groups[name].separable}
    if len(separable) == len(kept):
        return same(found, outputs(silence(module, table, kept), example))
    if separable and not _holds(module, table, separable, example, expected):
        return False
    every = {name: torch.arange(table.groups[name].size) for name in kept}
    return _runs_as(reorder(module, table, every), example, expected) and _runs_as(
        reorder(smaller, table, kept), example, found
    )


def _runs_as(module: nn.Module, example: Tensor, expected: Sequence[Tensor]) -> bool:
    try:
        return same(outputs(module, example), expected)
    except ValueError:
        return False
