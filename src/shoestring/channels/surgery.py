"""Channel surgery on tensors: with h the channels of a group, h is replaced by A h_S.

S are the channels that remain, some of them perhaps several times. Whatever produces channels or passes them through is
indexed by S; layers that consume them have their weights multiplied by A. To drop channels, A is zero outside of S.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, TypedDict

import torch
from torch import Tensor

from shoestring.channels.copying import Network, copy_module
from shoestring.channels.edits import Edit, Layout, new_layouts
from shoestring.channels.optimizer_state import StatefulOptimizer, check_state, edit_state
from shoestring.channels.size_attributes import record_group_changes, update_size_attributes
from shoestring.channels.table import Axis, Kept, Table, group_indices, named_tensors
from shoestring.models.layers import sync_layer_sizes

if TYPE_CHECKING:
    from typing_extensions import Unpack


class SurgeryOptions(TypedDict, total=False):
    """Keyword arguments that every operation passes on to `apply_edits`."""

    inplace: bool
    optimizers: Sequence[StatefulOptimizer]
    averages: Iterable[dict[str, Tensor]]


def apply_edits(
    module: Network,
    table: Table,
    edits: Mapping[str, Edit],
    *,
    inplace: bool = False,
    optimizers: Sequence[StatefulOptimizer] = (),
    averages: Iterable[dict[str, Tensor]] = (),
) -> Network:
    """Return the module with these groups edited; a copy unless `inplace`.

    The state of `optimizers` of the module's parameters (only with `inplace`) and `averages`, averaged weights by name,
    are edited too, in place. So are the attributes that hold axis sizes (`Table.size_attributes`).

    Raises `ValueError`, before anything is changed, if the table belongs to another network or has no such group, if
    the module cannot be copied, or if the state of an optimizer is not shaped like the weights.
    """
    if optimizers and not inplace:
        raise ValueError("optimizers can only be edited together with their own module: pass inplace=True.")
    table.validate(module, {})
    for name in edits:
        table.group(name)
    for optimizer in optimizers:
        check_state(optimizer, {id(tensor): name for name, tensor in named_tensors(module).items()})
    changed = module if inplace else copy_module(module)
    named = named_tensors(changed)
    layouts = new_layouts(table, edits)
    for optimizer in optimizers:
        edit_state(optimizer, {id(tensor): name for name, tensor in named.items()}, table, layouts, edits)
    first_names = {id(tensor): name for name, tensor in reversed(named.items())}
    shared = {name: first_names[id(p)] for name, p in changed.named_parameters(remove_duplicate=False)}
    for average in averages:
        average |= _edited_tensors(average, table, layouts, edits)
        average |= {name: average[own] for name, own in shared.items() if name in average and own in average}
    for name, tensor in _edited_tensors(named, table, layouts, edits).items():
        named[name].grad = None
        named[name].data = tensor
    with record_group_changes(changed):
        sync_layer_sizes(changed)
    counts = torch.ones(table.size + 1, dtype=torch.int64)
    for name, edit in edits.items():
        group = table.groups[name]
        counts[group.start : group.start + group.size] = torch.bincount(edit.source, minlength=group.size)
    update_size_attributes(changed, table, counts)
    return changed


def drop(module: Network, table: Table, kept: Kept, **options: Unpack[SurgeryOptions]) -> Network:
    """Return the module with only these channels of each named group: with smaller tensors, not masks.

    `kept` maps group names to indices (k,) in 0..size-1, at least one each; channels keep their order in the network.
    `options` are those of `apply_edits`. Raises `ValueError` for unknown groups and invalid indices.
    """
    table.validate(module, kept)
    return apply_edits(module, table, {name: Edit(indices.sort().values) for name, indices in kept.items()}, **options)


def _edited_tensors(
    tensors: Mapping[str, Tensor], table: Table, layouts: Mapping[Axis, Layout], edits: Mapping[str, Edit]
) -> dict[str, Tensor]:
    """Return all tensors that change: indexed where channels are produced, multiplied where they are consumed."""
    edited: dict[str, Tensor] = {}
    for axis, layout in layouts.items():
        name, dim = axis
        if name not in tensors:
            continue
        before = edited.get(name, tensors[name].detach())
        after = before.index_select(dim, layout.sources.to(before.device))
        for group, edit in edits.items():
            if edit.transform is not None and axis in table.groups[group].consumers:
                indices = group_indices(table, axis, table.groups[group])
                assert indices is not None
                after = _transformed(before, after, axis, indices, edit, layout)
        edited[name] = after
    return edited


def _transformed(before: Tensor, after: Tensor, axis: Axis, indices: Tensor, edit: Edit, layout: Layout) -> Tensor:
    """Return `after` with the entries of one group replaced by the transformed old ones.

    `indices` (size, entries per channel) are the old indices of the group along the axis.
    """
    dim = axis[1]
    assert edit.transform is not None
    new = torch.isin(layout.sources, indices).nonzero()[:, 0]
    new = new[layout.copies[new].argsort(stable=True)].view(len(edit.source), -1)
    weight = before.index_select(dim, indices.flatten().to(before.device)).movedim(dim, -1)
    weight = edit.transform(axis, weight.unflatten(-1, indices.shape).transpose(-1, -2))  # (..., entries, k)
    weight = weight.transpose(-1, -2).flatten(-2).movedim(-1, dim)
    return after.index_copy(dim, new.flatten().to(after.device), weight.to(after.dtype))
