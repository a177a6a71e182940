"""Surgery on real tensors by the channel table: with h the channels of a group, h is replaced by A h_S.

S are the channels that stay, some of them perhaps several times. Whatever makes channels or passes them on is indexed
by S; layers that read them have their weights multiplied by A. To drop channels is to take zeros for the rest of A.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from shoestring.channels.table import Kept, Table, places
from shoestring.channels.tracer import Axis
from shoestring.models.layers import FITTED, fit

Network = TypeVar("Network", bound=nn.Module)
Reader = Callable[[Axis, Tensor], Tensor]


@dataclass(frozen=True)
class Edit:
    """What becomes of one group: new channel j is the old channel `source[j]` (k,), in ascending order.

    `read(axis, weight)` gives the weights (..., k) of a layer for the new channels from its old ones (..., size); None
    takes those of the sources, which drops the rest.
    """

    source: Tensor
    read: Reader | None = None


def operate(
    module: Network,
    table: Table,
    edits: Mapping[str, Edit],
    *,
    inplace: bool = False,
    optimiser: torch.optim.Optimizer | None = None,
    averages: Iterable[dict[str, Tensor]] = (),
) -> Network:
    """The module after surgery on these groups, a copy unless `inplace`. The table must come from this module.

    The state of an optimiser of the module's parameters (only with `inplace`) and averaged weights by name go along,
    both in place. Numbers in the code of modules follow where their sizes did (`Table.sizes_in_code`).
    """
    assert optimiser is None or inplace, "an optimiser follows its own module only"
    changed = module if inplace else copy.deepcopy(module)
    named = dict(changed.named_parameters()) | dict(changed.named_buffers())
    every = layouts(table, edits)
    if optimiser is not None:
        _carry(optimiser, {id(tensor): name for name, tensor in named.items()}, table, every, edits)
    for average in averages:
        average |= _rewritten(average, table, every, edits)
    for name, tensor in _rewritten(named, table, every, edits).items():
        named[name].grad = None
        named[name].data = tensor
    fit(changed)
    _follow_sizes(changed, table, edits)
    return changed


def drop(module: Network, table: Table, kept: Kept, **more: Any) -> Network:
    """The module with only these channels of each group named: smaller tensors, not masks.

    `kept` maps group names to ascending indices (k,) in 0..size-1, at least one each. Further arguments are those of
    `operate`.
    """
    table.stays(kept)  # refuses what is not in the table
    return operate(module, table, {name: Edit(indices) for name, indices in kept.items()}, **more)


def silence(module: Network, table: Table, kept: Kept) -> Network:
    """A copy of the module of the same size in which no layer reads the channels that are not kept."""
    quiet = copy.deepcopy(module)
    named = dict(quiet.named_parameters()) | dict(quiet.named_buffers())
    gone = ~table.stays(kept)
    with torch.no_grad():
        for name, dim in table.readers:
            numbers = table.axes.get((name, dim))
            if numbers is not None and gone[numbers].any():
                named[name].data = named[name].data.index_fill(dim, gone[numbers].nonzero()[:, 0], 0.0)
    return quiet


def reorder(smaller: Network, table: Table, kept: Kept, order: Kept) -> Network:
    """A copy of a module that `drop` made with these channels, in which they stand in another order everywhere."""
    changed = copy.deepcopy(smaller)
    named = dict(changed.named_parameters()) | dict(changed.named_buffers())
    stays = table.stays(kept)
    takes = torch.arange(table.size + 1)  # whose place each channel takes
    for name, own in kept.items():
        takes[table.groups[name].start + own] = table.groups[name].start + order[name]
    for (name, dim), numbers in table.axes.items():
        numbers = numbers[stays[numbers]]
        first = numbers.argsort(stable=True)  # places by channel: equal numbers are equally many for all of a group
        again = takes[numbers].argsort(stable=True)
        places = torch.empty_like(first)
        places[again] = first
        if not torch.equal(places, torch.arange(len(places))):
            named[name].data = named[name].data.index_select(dim, places.to(named[name].device))
    return changed


@dataclass(frozen=True)
class Layout:
    """A new axis: `places` (length,) are the old indices that its entries come from, `copies` which new channel of its
    group each of them is, -1 for entries of no edited group."""

    places: Tensor
    copies: Tensor


def layouts(table: Table, edits: Mapping[str, Edit]) -> dict[Axis, Layout]:
    """The new layout of every axis that an edit touches."""
    copies: dict[int, list[int]] = {}
    for name, edit in edits.items():
        group = table.groups[name]
        assert bool((edit.source[1:] >= edit.source[:-1]).all()), "sources come in ascending order"
        for channel in range(group.start, group.start + group.size):
            copies[channel] = []
        for index, channel in enumerate((edit.source + group.start).tolist()):
            copies[channel].append(index)
    return {
        axis: _layout(numbers.tolist(), copies)
        for axis, numbers in table.axes.items()
        if any(number in copies for number in set(numbers.tolist()))
    }


def _layout(numbers: list[int], copies: Mapping[int, list[int]]) -> Layout:
    """Runs of one channel, as flattened maps have them, are copied or left out as a whole."""
    places: list[int] = []
    which: list[int] = []
    start = 0
    while start < len(numbers):
        end = start + 1
        while end < len(numbers) and numbers[end] == numbers[start] >= 0:
            end += 1
        for copy_of in copies.get(numbers[start], [-1]):
            places += range(start, end)
            which += [copy_of] * (end - start)
        start = end
    return Layout(torch.tensor(places, dtype=torch.int64), torch.tensor(which, dtype=torch.int64))


def _rewritten(
    tensors: Mapping[str, Tensor], table: Table, layouts: Mapping[Axis, Layout], edits: Mapping[str, Edit]
) -> dict[str, Tensor]:
    """The new tensors of all that change, by name: indexed where channels are made, multiplied where they are read."""
    found: dict[str, Tensor] = {}
    for axis, layout in layouts.items():
        name, dim = axis
        if name not in tensors:
            continue
        before = found.get(name, tensors[name].detach())
        after = before.index_select(dim, layout.places.to(before.device))
        if axis in table.readers:
            for group, edit in edits.items():
                if edit.read is not None:
                    after = _read(before, after, axis, table, group, edit, layout)
        found[name] = after
    return found


def _read(before: Tensor, after: Tensor, axis: Axis, table: Table, group: str, edit: Edit, layout: Layout) -> Tensor:
    """`after` with the entries of one group replaced by what its reader makes of the old ones."""
    dim, old = axis[1], places(table, axis, table.groups[group])
    if old is None:
        return after
    new = torch.isin(layout.places, old).nonzero()[:, 0]
    new = new[layout.copies[new].argsort(stable=True)].view(len(edit.source), -1)
    weight = before.index_select(dim, old.flatten().to(before.device)).movedim(dim, -1)
    assert edit.read is not None
    weight = edit.read(axis, weight.unflatten(-1, old.shape).transpose(-1, -2))  # (..., places, k)
    weight = weight.transpose(-1, -2).flatten(-2).movedim(-1, dim)
    return after.index_copy(dim, new.flatten().to(after.device), weight.to(after.dtype))


def _carry(
    optimiser: torch.optim.Optimizer,
    names: Mapping[int, str],
    table: Table,
    layouts: Mapping[Axis, Layout],
    edits: Mapping[str, Edit],
) -> None:
    """Momentum and its like are indexed as their weights are.

    A copy's reader gets the gradient of the whole channel, but what makes the copy gets a share of it, in the mean one
    over the number of copies.
    """
    for parameter, state in optimiser.state.items():
        name = names.get(id(parameter))
        for key, value in state.items():
            if name is None or not isinstance(value, Tensor) or value.shape != parameter.shape:
                continue
            power = 2 if key.endswith("_sq") else 1
            for axis, layout in layouts.items():
                if axis[0] == name:
                    value = value.index_select(axis[1], layout.places.to(value.device))
                    if axis not in table.readers:
                        share = _shares(table, axis, layout, edits).to(value) ** power
                        value = value * share.view(-1, *[1] * (value.ndim - axis[1] - 1))
            state[key] = value


def _shares(table: Table, axis: Axis, layout: Layout, edits: Mapping[str, Edit]) -> Tensor:
    """One over the number of copies of each entry's channel."""
    counts = torch.ones(table.size + 1)
    for name, edit in edits.items():
        group = table.groups[name]
        counts[group.start : group.start + group.size] = torch.bincount(edit.source, minlength=group.size).float()
    return 1 / counts[table.axes[axis][layout.places]]


def _follow_sizes(module: nn.Module, table: Table, edits: Mapping[str, Edit]) -> None:
    """Give modules whose code keeps the sizes of axes as numbers the new ones, where it is clear which they are.

    What changed is kept in `module.sizes_changed`, so that it can be saved.
    """
    counts = torch.ones(table.size + 1, dtype=torch.int64)
    for name, edit in edits.items():
        group = table.groups[name]
        counts[group.start : group.start + group.size] = torch.bincount(edit.source, minlength=group.size)
    wanted: dict[tuple[str, int], set[int]] = {}
    for one in table.sizes_in_code:
        wanted.setdefault((one.module, one.number), set()).add(int(counts[one.channels].sum()))
    changed: dict[str, Any] = dict(getattr(module, "sizes_changed", {}))
    for (name, number), new in wanted.items():
        inner = module.get_submodule(name)
        if len(new) == 1 and new != {number} and not isinstance(inner, FITTED):
            changed |= _replace(inner, name, number, new.pop())
    if changed:
        module.sizes_changed = changed  # type: ignore[assignment]


def _replace(module: nn.Module, name: str, old: int, new: int) -> dict[str, Any]:
    """Replace a number among the attributes of one module; what they are now, by full name."""
    found: dict[str, Any] = {}
    for attribute, value in vars(module).items():
        if type(value) is int and value == old:
            found[attribute] = new
        elif isinstance(value, tuple | list) and old in value and all(type(entry) is int for entry in value):
            found[attribute] = type(value)(new if entry == old else entry for entry in value)
    for attribute, value in found.items():
        setattr(module, attribute, value)
    return {f"{name}.{attribute}".removeprefix("."): value for attribute, value in found.items()}
