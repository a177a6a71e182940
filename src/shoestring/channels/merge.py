"""Channels that say the same become one: exact where they are equal, and the best guess where they are only alike."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shoestring.channels.surgery import Edit, Network, operate
from shoestring.channels.table import Group, Table, places
from shoestring.channels.tracer import Axis


def merge(module: Network, table: Table, clusters: Mapping[str, Tensor], **more: Any) -> Network:
    """The module with one channel for each cluster, read with the sum of the weights that read its members.

    `clusters` maps group names to a cluster number for every channel (size,), int64; the first member of each stays.
    Exact where members are equal (`equal_channels`). The merging step of centripetal SGD (Ding et al. 2019), for any
    network. Further arguments are those of `operate`.
    """
    edits = {}
    for name, numbers in clusters.items():
        size = table.groups[name].size
        if numbers.shape != (size,):
            raise ValueError(f"group '{name}' has {size} channels, but clusters of shape {tuple(numbers.shape)}.")
        source = first_of_each(numbers)
        edits[name] = _summed(source, (numbers[:, None] == numbers[source]).float())
    return operate(module, table, edits, **more)


def merge_proportional(module: Network, table: Table, *, tolerance: float = 1e-6, **more: Any) -> Network:
    """The module with channels left out that are multiples, by factors above zero, of others of their group.

    Only where such a factor passes through all that follows (ReLU, pooling): `Group.proportional`. Exact in evaluation
    mode. `tolerance` is the largest relative difference of the filters with batch norms folded in.
    """
    edits = {}
    for name, group in table.groups.items():
        filters = folded(module, table, group) if group.proportional else None
        if filters is None:
            continue
        lengths = filters.norm(dim=1)
        units = filters / lengths.clamp_min(1e-30)[:, None]
        numbers = _alike(units, tolerance)
        source = first_of_each(numbers)
        if len(source) < group.size:
            same = (numbers[:, None] == numbers[source]).double()
            edits[name] = _summed(source, same * lengths[:, None] / lengths[source].clamp_min(1e-30))
    return operate(module, table, edits, **more)


def equal_channels(module: nn.Module, table: Table, *, tolerance: float = 0.0) -> dict[str, Tensor]:
    """Clusters of equal channels for `merge`: all that makes them or passes them on is the same, in every layer.

    `tolerance` is the largest difference relative to the largest entry of each tensor. Channels that are normalised
    together are left apart, for their statistics would change.
    """
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    found = {}
    for name, group in table.groups.items():
        rows = [
            own / own.abs().max().clamp_min(1e-30)
            for axis in table.axes
            if axis not in table.readers and (own := _slices(tensors[axis[0]], table, axis, group)) is not None
        ]
        if group.separable and rows:
            found[name] = _alike(torch.cat(rows, 1), tolerance)
    return found


def first_of_each(numbers: Tensor) -> Tensor:
    """The index of the first member of each cluster, ascending."""
    _, where = numbers.unique(return_inverse=True)
    first = torch.full((int(where.max()) + 1,), len(numbers))
    return first.scatter_reduce(0, where, torch.arange(len(numbers)), "amin").sort().values


def _summed(source: Tensor, matrix: Tensor) -> Edit:
    """Readers get their weights (..., size) times a matrix (size, k)."""
    return Edit(source, lambda axis, weight: (weight.double() @ matrix.to(weight.device, torch.float64)).to(weight))


def _slices(tensor: Tensor, table: Table, axis: Axis, group: Group) -> Tensor | None:
    """What a tensor has for each channel of the group along an axis: (size, D), None when it has nothing."""
    where = places(table, axis, group)
    if where is None:
        return None
    rows = tensor.detach().double().cpu().movedim(axis[1], 0)
    return rows[where.flatten()].unflatten(0, where.shape).flatten(1)


def _alike(rows: Tensor, tolerance: float) -> Tensor:
    """A cluster number for each row (N, D): the index of the first row that differs by no more than the tolerance."""
    if tolerance == 0:
        _, numbers = rows.unique(dim=0, return_inverse=True)
        return first_of_each(numbers)[_rank(numbers)]
    near = torch.cdist(rows, rows, p=torch.inf) <= tolerance
    return near.int().argmax(1)


def _rank(numbers: Tensor) -> Tensor:
    """Cluster numbers renamed in the order of their first members."""
    firsts = first_of_each(numbers)
    return (numbers[:, None] == numbers[firsts]).int().argmax(1)


def folded(module: nn.Module, table: Table, group: Group) -> Tensor | None:
    """The filters and shifts (size, D) that a single layer and the batch norm behind it come to; None for others."""
    touched = [axis for axis in table.axes if axis not in table.readers and places(table, axis, group) is not None]
    owners = list(dict.fromkeys(name.rpartition(".")[0] for name, _ in touched))
    layers: list[Any] = [module.get_submodule(owner) for owner in owners]
    if len(group.producers) != 1 or len(layers) > 2 or (len(layers) == 2 and not isinstance(layers[1], _BatchNorm)):
        return None
    layer, norm = layers[0], layers[1] if len(layers) == 2 else None
    weight = layer.weight.detach().double().movedim(group.producers[0][1], 0)
    shift = torch.zeros(len(weight)) if layer.bias is None else layer.bias.detach()
    filters, shift = weight.flatten(1), shift.double()
    if norm is not None:
        if norm.running_mean is None or norm.running_var is None:
            return None
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        scale = scale if norm.weight is None else scale * norm.weight.detach().double()
        shift = (shift - norm.running_mean.double()) * scale
        shift = shift if norm.bias is None else shift + norm.bias.detach().double()
        filters = filters * scale[:, None]
    rows = torch.cat([filters, shift[:, None]], 1).cpu()
    where = places(table, group.producers[0], group)
    return None if where is None else rows[where.flatten()].unflatten(0, where.shape).flatten(1)
