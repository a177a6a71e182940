"""Channels that say the same become one: exact where they are equal, and the best guess where they are only alike."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shoestring.channels.surgery import Edit, Network, operate
from shoestring.channels.table import Group, Table, named_tensors, where
from shoestring.channels.trial import culprits, outputs, same

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def merge(module: Network, table: Table, clusters: Mapping[str, Tensor], **more: Any) -> Network:
    """The module with one channel for each cluster, read with the sum of the weights that read its members.

    `clusters` maps group names to a cluster number for every channel (size,), int64; the first member of each stays.
    Exact where members are equal (`equal_channels`). The merging step of centripetal SGD (Ding et al. 2019), for any
    network. Further arguments are those of `operate`. Raises `ValueError` for groups that there are not and for
    clusters of another size.
    """
    edits = {}
    for name, numbers in clusters.items():
        size = table.group(name).size
        if numbers.shape != (size,):
            raise ValueError(f"group '{name}' has {size} channels, but clusters of shape {tuple(numbers.shape)}.")
        source = first_members(numbers).unique()
        edits[name] = _summed(source, (numbers[:, None] == numbers[source]).double())
    return operate(module, table, edits, **more)


def equal_channels(module: nn.Module, table: Table, *, tolerance: float = 0.0) -> dict[str, Tensor]:
    """Clusters of equal channels for `merge`: all that makes them or passes them on is the same, in every layer.

    `tolerance` is the largest difference relative to the largest entry of each tensor. Channels that are normalised
    together are left apart, for their statistics would change.
    """
    tensors = named_tensors(module)
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


def merge_proportional(
    module: Network, table: Table, example: Tensor, *, tolerance: float = 1e-6, inplace: bool = False
) -> Network:
    """The module without channels that are multiples, by factors above zero, of others of their group.

    Only where such a factor passes through all that follows (ReLU, pooling): `Group.proportional`. Exact in evaluation
    mode: groups for which the outputs for `example` (N, C, H, W) change are left alone. `tolerance` is the largest
    relative difference of the filters, batch norms folded in.
    """
    edits = {}
    for name, group in table.groups.items():
        filters = folded(module, table, group) if group.proportional else None
        if filters is None:
            continue
        lengths = filters.norm(dim=1)
        numbers = _alike(filters / lengths.clamp_min(1e-30)[:, None], tolerance)
        source = numbers.unique()
        if len(source) < group.size:
            factors = lengths[:, None] / lengths[source].clamp_min(1e-30)
            edits[name] = _summed(source, (numbers[:, None] == numbers[source]).double() * factors)
    was_training = module.training
    whole = operate(module, table, {}).eval()
    expected = outputs(whole, example)

    def holds(names: Sequence[str]) -> bool:
        return same(outputs(operate(whole, table, {name: edits[name] for name in names}), example), expected)

    bad = culprits(list(edits), holds)
    merged = operate(module, table, {name: edits[name] for name in edits.keys() - bad}, inplace=inplace)
    assert merged.training == was_training
    return merged


def folded(module: nn.Module, table: Table, group: Group) -> Tensor | None:
    """The filters and shifts (size, D) that a plain layer and a batch norm behind it come to; None for anything else.

    Where the batch norm really stands is for a trial to find out.
    """
    touched = [axis for axis in table.axes if axis not in table.readers and group.holds(table.axes[axis]).any()]
    owners = list(dict.fromkeys(name.rpartition(".")[0] for name, _ in touched))
    layers: list[Any] = [module.get_submodule(owner) for owner in owners]
    norms = layers[1:]
    if len(group.producers) != 1 or type(layers[0]) not in _LAYERS or len(norms) > 1:
        return None
    if not all(isinstance(norm, _BatchNorm) and norm.running_var is not None for norm in norms):
        return None
    layer = layers[0]
    filters = layer.weight.detach().double().flatten(1)
    shift = torch.zeros_like(filters[:, 0]) if layer.bias is None else layer.bias.detach().double()
    for norm in norms:
        scale = (norm.running_var.double() + norm.eps).rsqrt()
        scale = scale if norm.weight is None else scale * norm.weight.detach().double()
        shift = (shift - norm.running_mean.double()) * scale
        shift = shift if norm.bias is None else shift + norm.bias.detach().double()
        filters = filters * scale[:, None]
    return _slices(torch.cat([filters, shift[:, None]], 1), table, group.producers[0], group)


def first_members(numbers: Tensor) -> Tensor:
    """For each member the index of the first one in its cluster (N,)."""
    _, which = numbers.unique(return_inverse=True)
    first = torch.full((int(which.max()) + 1,), len(numbers))
    return first.scatter_reduce(0, which, torch.arange(len(numbers)), "amin")[which]


def _summed(source: Tensor, matrix: Tensor) -> Edit:
    """Readers get their weights (..., size) times a matrix (size, k)."""
    return Edit(source, lambda axis, weight: (weight.double() @ matrix.to(weight.device)).to(weight))


def _slices(tensor: Tensor, table: Table, axis: tuple[str, int], group: Group) -> Tensor | None:
    """What a tensor has for each channel of the group along an axis: (size, D), None when it has nothing."""
    places = where(table, axis, group)
    if places is None:
        return None
    rows = tensor.detach().double().cpu().movedim(axis[1], 0)
    return rows[places.flatten()].unflatten(0, places.shape).flatten(1)


def _alike(rows: Tensor, tolerance: float) -> Tensor:
    """For each row (N, D) the index of the first row that differs by no more than the tolerance."""
    if tolerance == 0:
        return first_members(rows.unique(dim=0, return_inverse=True)[1])
    near = (torch.cdist(rows, rows, p=torch.inf) <= tolerance).int().argmax(1)
    return near[near]  # a first one that has a first one itself stands for both
