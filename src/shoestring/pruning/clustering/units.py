"""Units whose channels are clustered together: single layers, or groups of channels that must be merged as one."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shoestring.channels import Axis, Group, Table
from shoestring.channels.table import group_indices
from shoestring.models.batchnorm import find_norms
from shoestring.models.layers import PLAIN_LAYERS

_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True)
class Part:
    """A layer that produces the channels of a unit, and the batch norm that reads its output directly, if any.

    `indices` (size, entries per channel) are the indices of each channel among the outputs of the layer.
    """

    layer: str
    norm: str | None
    indices: Tensor


@dataclass(frozen=True)
class Unit:
    """Channels that are clustered together.

    `others` are the tensors that pass the channels on one by one, beside those of the parts, as (axis, indices).
    """

    name: str
    size: int
    parts: tuple[Part, ...]
    others: tuple[tuple[Axis, Tensor], ...] = ()


def layer_units(module: nn.Module, example: Tensor, heads: Collection[str] = ()) -> list[Unit]:
    """Return one unit per convolution without groups that is trained and produces no logits."""
    norms, units = find_norms(module, example)[0], []
    for name, layer in module.named_modules():
        if not isinstance(layer, _CONVOLUTIONS) or layer.groups > 1 or f"{name}.weight" in heads:
            continue
        if layer.weight.requires_grad and layer.out_channels > 1:
            own = torch.arange(layer.out_channels)[:, None]
            units.append(Unit(name, layer.out_channels, (Part(name, norms.get(name), own),)))
    return units


def group_units(module: nn.Module, example: Tensor, table: Table) -> list[Unit]:
    """Return one unit per group of channels that can be merged exactly where they are equal."""
    norms, _ = find_norms(module, example)
    groups = ((name, group) for name, group in table.groups.items() if group.separable and group.size > 1)
    return [_group_unit(module, norms, table, name, group) for name, group in groups]


def _group_unit(module: nn.Module, norms: dict[str, str], table: Table, name: str, group: Group) -> Unit:
    passing = {
        axis: own
        for axis in table.axes
        if axis not in table.consumers and (own := group_indices(table, axis, group)) is not None
    }
    parts, covered = [], set()
    for (tensor, dim), own in passing.items():
        owner = tensor.rpartition(".")[0]
        if dim or not isinstance(module.get_submodule(owner), PLAIN_LAYERS) or not tensor.endswith(".weight"):
            continue
        norm = norms.get(owner)
        follows = passing.get((f"{norm}.running_var", 0))
        if follows is None or not torch.equal(follows, own):
            norm = None
        parts.append(Part(owner, norm, own))
        covered |= {owner, norm}
    others = tuple((axis, own) for axis, own in passing.items() if axis[0].rpartition(".")[0] not in covered)
    return Unit(name, group.size, tuple(parts), others)
