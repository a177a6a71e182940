"""From masks to a smaller network: channels without weights are removed."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from shoestring.channels import Group, Table, drop, fold_constants, trace
from shoestring.channels.table import group_indices, named_tensors


def remove_dead_channels(module: nn.Module, batches: Sequence[Tensor]) -> nn.Module:
    """Return a smaller copy of a network, without channels that have no weights or that no layer reads.

    What a channel without weights contributes, a constant, is added to the biases that follow (see `fold_constants`,
    which `batches` (N, C, H, W) are for). The outputs in evaluation mode do not change. Removing a channel can make
    others dead, which are removed as well.
    """
    example = batches[0][:1]
    smaller, size = module, -1
    while True:
        table = trace(smaller, example)
        if table.size == size:
            return smaller
        size = table.size
        smaller = fold_constants(smaller, table, batches)
        table = trace(smaller, example)
        smaller = drop(smaller, table, _read_channels(smaller, table))


def _read_channels(module: nn.Module, table: Table) -> dict[str, Tensor]:
    """Return the channels of each group that a layer reads with a weight that is not zero; at least one."""
    kept = {}
    for name, group in table.groups.items():
        if group.separable and group.consumers:
            read = _is_read(module, table, group).nonzero()[:, 0]
            kept[name] = read if len(read) else torch.zeros(1, dtype=torch.int64)
    return kept


def _is_read(module: nn.Module, table: Table, group: Group) -> Tensor:
    tensors, read = named_tensors(module), torch.zeros(group.size, dtype=torch.bool)
    for axis in group.consumers:
        own = group_indices(table, axis, group)
        if own is not None:
            weight = tensors[axis[0]].detach().cpu().movedim(axis[1], 0).flatten(1)
            read |= (weight[own.flatten()] != 0).any(1).view(own.shape).any(1)
    return read
