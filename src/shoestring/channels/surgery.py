"""Surgery on real tensors by the channel table: with h the channels of a group, h is replaced by A h_S.

S are the channels that stay, some of them perhaps several times. Whatever makes channels or passes them on is indexed
by S; layers that read them have their weights multiplied by A. To drop channels is to take zeros for the rest of A.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from shoestring.channels.sizes import follow_groups, follow_sizes
from shoestring.channels.table import Kept, Table, named_tensors, where
from shoestring.channels.tracer import Axis
from shoestring.channels.trial import copied
from shoestring.models.layers import fit

Network = TypeVar("Network", bound=nn.Module)
Reader = Callable[[Axis, Tensor], Tensor]
_SECOND_MOMENTS = ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "acc_delta")
_FIRST_MOMENTS = ("exp_avg", "momentum_buffer", "grad_avg", "exp_inf", "prev")


class Remembering(Protocol):
    """An optimiser of `torch.optim`, or any other that remembers tensors by name for each weight."""

    @property
    def state(self) -> MutableMapping[Tensor, Any]:
        """What is remembered, by weight."""
        ...


@dataclass(frozen=True)
class Edit:
    """What becomes of one group: new channel j is the old channel `source[j]` (k,), in ascending order.

    `read(axis, weight)` gives the weights (..., k) of a layer for the new channels from its old ones (..., size); None
    takes those of the sources, which drops the rest. `share` (k,) is the part of its source's gradient that will reach
    what makes a new channel; None is all of it.
    """

    source: Tensor
    read: Reader | None = None
    share: Tensor | None = None


def operate(
    module: Network,
    table: Table,
    edits: Mapping[str, Edit],
    *,
    inplace: bool = False,
    optimisers: Sequence[Remembering] = (),
    averages: Iterable[dict[str, Tensor]] = (),
) -> Network:
    """The module after surgery on these groups, a copy unless `inplace`.

    The state of optimisers of the module's parameters (only with `inplace`) and averaged weights by name go along, both
    in place. Attributes of modules that are the sizes of axes follow (`Table.sizes_in_code`). Raises `ValueError`,
    before anything is changed, when the table is of another network, for groups that it does not have, for a module
    that cannot be copied, and for optimisers whose state is not shaped like their weights.
    """
    if optimisers and not inplace:
        raise ValueError("an optimiser follows its own module only: say inplace=True.")
    table.check(module, {})
    for name in edits:
        table.group(name)
    for optimiser in optimisers:
        _check_state(optimiser, {id(tensor): name for name, tensor in named_tensors(module).items()})
    changed = module if inplace else copied(module)
    named = named_tensors(changed)
    every = layouts(table, edits)
    for optimiser in optimisers:
        _carry(optimiser, {id(tensor): name for name, tensor in named.items()}, table, every, edits)
    first = {id(tensor): name for name, tensor in reversed(named.items())}
    shared = {name: first[id(p)] for name, p in changed.named_parameters(remove_duplicate=False)}
    for average in averages:
        average |= _rewritten(average, table, every, edits)
        average |= {name: average[own] for name, own in shared.items() if name in average and own in average}
    for name, tensor in _rewritten(named, table, every, edits).items():
        named[name].grad = None
        named[name].data = tensor
    with follow_groups(changed):
        fit(changed)
    counts = torch.ones(table.size + 1, dtype=torch.int64)
    for name, edit in edits.items():
        group = table.groups[name]
        counts[group.start : group.start + group.size] = torch.bincount(edit.source, minlength=group.size)
    follow_sizes(changed, table, counts)
    return changed


def drop(module: Network, table: Table, kept: Kept, **more: Any) -> Network:
    """The module with only these channels of each group named: smaller tensors, not masks.

    `kept` maps group names to indices (k,) in 0..size-1, at least one each; their order is left as it is in the
    network. Further arguments are those of `operate`. Raises `ValueError` for groups and indices that there are not.
    """
    table.check(module, kept)
    return operate(module, table, {name: Edit(indices.sort().values) for name, indices in kept.items()}, **more)


@dataclass(frozen=True)
class Layout:
    """A new axis: `sources` (length,) are the old indices that its entries come from, `copies` which new channel of its
    group each of them is, -1 for entries of no edited group."""

    sources: Tensor
    copies: Tensor


def layouts(table: Table, edits: Mapping[str, Edit]) -> dict[Axis, Layout]:
    """The new layout of every axis that an edit touches."""
    copies: dict[int, list[int]] = {}
    for name, edit in edits.items():
        group = table.group(name)
        assert bool((edit.source[1:] >= edit.source[:-1]).all()), "sources come in ascending order"
        copies |= {channel: [] for channel in range(group.start, group.start + group.size)}
        for index, channel in enumerate((edit.source + group.start).tolist()):
            copies[channel].append(index)
    return {
        axis: _layout(numbers.tolist(), copies)
        for axis, numbers in table.axes.items()
        if not copies.keys().isdisjoint(numbers.tolist())
    }


def _layout(numbers: list[int], copies: Mapping[int, list[int]]) -> Layout:
    """Runs of one channel, as flattened maps have them, are copied or left out as a whole."""
    sources: list[int] = []
    which: list[int] = []
    start = 0
    while start < len(numbers):
        end = start + 1
        while end < len(numbers) and numbers[end] == numbers[start] >= 0:
            end += 1
        for copy_of in copies.get(numbers[start], [-1]):
            sources += range(start, end)
            which += [copy_of] * (end - start)
        start = end
    return Layout(torch.tensor(sources, dtype=torch.int64), torch.tensor(which, dtype=torch.int64))


def _rewritten(
    tensors: Mapping[str, Tensor], table: Table, every: Mapping[Axis, Layout], edits: Mapping[str, Edit]
) -> dict[str, Tensor]:
    """The new tensors of all that change, by name: indexed where channels are made, multiplied where they are read."""
    found: dict[str, Tensor] = {}
    for axis, layout in every.items():
        name, dim = axis
        if name not in tensors:
            continue
        before = found.get(name, tensors[name].detach())
        after = before.index_select(dim, layout.sources.to(before.device))
        for group, edit in edits.items():
            if edit.read is not None and axis in table.groups[group].consumers:
                after = _read(before, after, axis, table, group, edit, layout)
        found[name] = after
    return found


def _read(before: Tensor, after: Tensor, axis: Axis, table: Table, group: str, edit: Edit, layout: Layout) -> Tensor:
    """`after` with the entries of one group replaced by what its reader makes of the old ones."""
    dim, old = axis[1], where(table, axis, table.groups[group])
    assert old is not None and edit.read is not None
    new = torch.isin(layout.sources, old).nonzero()[:, 0]
    new = new[layout.copies[new].argsort(stable=True)].view(len(edit.source), -1)
    weight = before.index_select(dim, old.flatten().to(before.device)).movedim(dim, -1)
    weight = edit.read(axis, weight.unflatten(-1, old.shape).transpose(-1, -2))  # (..., places, k)
    weight = weight.transpose(-1, -2).flatten(-2).movedim(-1, dim)
    return after.index_copy(dim, new.flatten().to(after.device), weight.to(after.dtype))


def _check_state(optimiser: Remembering, names: Mapping[int, str]) -> None:
    """Only what is remembered for each entry of a weight, or once for all of them, can follow the weight."""
    for parameter, state in optimiser.state.items():
        for key, value in state.items() if id(parameter) in names else ():
            tensors = [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
            apart = any(one.shape not in ((), (1,), parameter.shape) for one in tensors)
            if apart or (tensors and not isinstance(value, Tensor)):
                raise ValueError(
                    f"the state of {type(optimiser).__name__} cannot follow channels: '{key}' of "
                    f"{names[id(parameter)]} is not shaped like the weight. Make a new optimiser after the surgery."
                )


def _carry(
    optimiser: Remembering,
    names: Mapping[int, str],
    table: Table,
    every: Mapping[Axis, Layout],
    edits: Mapping[str, Edit],
) -> None:
    """Momentum and its like are indexed as their weights are, and scaled as their gradients will be.

    What makes a copy gets a share of the gradient, what reads it all of it, and what reads a new channel none.
    """
    for parameter, state in optimiser.state.items():
        name = names.get(id(parameter))
        for key, value in state.items():
            if name is None or not isinstance(value, Tensor) or value.shape != parameter.shape:
                continue
            power = {**dict.fromkeys(_FIRST_MOMENTS, 1), **dict.fromkeys(_SECOND_MOMENTS, 2)}.get(key, 0)
            for axis, layout in every.items():
                if axis[0] == name:
                    value = value.index_select(axis[1], layout.sources.to(value.device))
                    share = _shares(table, axis, layout, edits)
                    share = (share > 0).float() if axis in table.readers else share
                    value = value * (share.to(value) ** power).view(-1, *[1] * (value.ndim - axis[1] - 1))
            state[key] = value


def _shares(table: Table, axis: Axis, layout: Layout, edits: Mapping[str, Edit]) -> Tensor:
    """The share of the gradient for each entry of a new axis."""
    shares = torch.ones(len(layout.sources))
    numbers = table.axes[axis][layout.sources]
    for name, edit in edits.items():
        if edit.share is not None:
            inside = table.groups[name].holds(numbers)
            shares[inside] = edit.share[layout.copies[inside]]
    return shares
