"""Merging channels: exact where they are equal or proportional, approximate where they are only similar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shoestring.channels.bisection import find_failing
from shoestring.channels.copying import Network
from shoestring.channels.edits import Edit
from shoestring.channels.outputs import compute_outputs, outputs_match
from shoestring.channels.surgery import SurgeryOptions, apply_edits
from shoestring.channels.table import Group, Table, channel_rows, named_tensors
from shoestring.models.layers import PLAIN_LAYERS

if TYPE_CHECKING:
    from typing_extensions import Unpack


def merge(module: Network, table: Table, clusters: Mapping[str, Tensor], **options: Unpack[SurgeryOptions]) -> Network:
    """Replace each cluster of channels by its first member; consumers get the sum of the members' weights.

    `clusters` maps group names to a cluster number for every channel (size,), int64. Exact where the members are equal
    (`equal_channels`). This is the merging step of centripetal SGD (Ding et al. 2019), for any network. `options` are
    those of `apply_edits`. Raises `ValueError` for unknown groups and for clusters of the wrong size.
    """
    edits = {}
    for name, numbers in clusters.items():
        size = table.group(name).size
        if numbers.shape != (size,):
            raise ValueError(f"group '{name}' has {size} channels, but clusters of shape {tuple(numbers.shape)}.")
        source = first_members(numbers).unique()
        edits[name] = _matrix_edit(source, (numbers[:, None] == numbers[source]).double())
    return apply_edits(module, table, edits, **options)


def equal_channels(module: nn.Module, table: Table, *, tolerance: float = 0.0) -> dict[str, Tensor]:
    """Return clusters of equal channels for `merge`: those with the same parameters in all layers but consumers.

    `tolerance` is the largest allowed difference, relative to the largest entry of each tensor. Channels that are
    normalized together are not merged, because their statistics would change.
    """
    tensors = named_tensors(module)
    clusters = {}
    for name, group in table.groups.items():
        rows = [
            own / own.abs().max().clamp_min(1e-30)
            for axis in table.axes
            if axis not in table.consumers and (own := channel_rows(tensors[axis[0]], table, axis, group)) is not None
        ]
        if group.separable and rows:
            clusters[name] = _cluster_rows(torch.cat(rows, 1), tolerance)
    return clusters


def merge_proportional(
    module: Network, table: Table, example: Tensor, *, tolerance: float = 1e-6, inplace: bool = False
) -> Network:
    """Merge channels that are positive multiples of others of their group.

    Applies only to groups through which such factors pass unchanged (ReLU, pooling): `Group.homogeneous`. Exact in
    evaluation mode: groups whose merging changes the outputs for `example` (N, C, H, W) are skipped. `tolerance` is the
    largest relative difference of the filters, with batch norms folded in.
    """
    edits = {}
    for name, group in table.groups.items():
        filters = folded_filters(module, table, group) if group.homogeneous else None
        if filters is None:
            continue
        norms = filters.norm(dim=1)
        numbers = _cluster_rows(filters / norms.clamp_min(1e-30)[:, None], tolerance)
        source = numbers.unique()
        if len(source) < group.size:
            factors = norms[:, None] / norms[source].clamp_min(1e-30)
            edits[name] = _matrix_edit(source, (numbers[:, None] == numbers[source]).double() * factors)
    was_training = module.training
    whole = apply_edits(module, table, {}).eval()
    expected = compute_outputs(whole, example)

    def passes(names: Sequence[str]) -> bool:
        merged = apply_edits(whole, table, {name: edits[name] for name in names})
        return outputs_match(compute_outputs(merged, example), expected)

    failing = find_failing(list(edits), passes)
    merged = apply_edits(module, table, {name: edits[name] for name in edits.keys() - failing}, inplace=inplace)
    assert merged.training == was_training
    return merged


def folded_filters(module: nn.Module, table: Table, group: Group) -> Tensor | None:
    """Return the filters and shifts (size, D) of a plain layer with its batch norm folded in; None for other producers.

    The caller must check by a trial that the batch norm follows the layer directly.
    """
    touched = [axis for axis in table.axes if axis not in table.consumers and group.contains(table.axes[axis]).any()]
    owners = list(dict.fromkeys(name.rpartition(".")[0] for name, _ in touched))
    layers: list[Any] = [module.get_submodule(owner) for owner in owners]
    norms = layers[1:]
    if len(group.producers) != 1 or type(layers[0]) not in PLAIN_LAYERS or len(norms) > 1:
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
    return channel_rows(torch.cat([filters, shift[:, None]], 1), table, group.producers[0], group)


def first_members(numbers: Tensor) -> Tensor:
    """Return for each element the index of the first one in its cluster (N,)."""
    _, which = numbers.unique(return_inverse=True)
    first = torch.full((int(which.max()) + 1,), len(numbers))
    return first.scatter_reduce(0, which, torch.arange(len(numbers)), "amin")[which]


def _matrix_edit(source: Tensor, matrix: Tensor) -> Edit:
    """Return an edit that multiplies the weights (..., size) of consumers by a matrix (size, k)."""
    return Edit(source, lambda axis, weight: (weight.double() @ matrix.to(weight.device)).to(weight))


def _cluster_rows(rows: Tensor, tolerance: float) -> Tensor:
    """Return for each row (N, D) the index of the first row that differs by at most the tolerance."""
    if tolerance == 0:
        return first_members(rows.unique(dim=0, return_inverse=True)[1])
    near = (torch.cdist(rows, rows, p=torch.inf) <= tolerance).int().argmax(1)
    return near[near]  # a representative that has a representative itself is replaced by it
