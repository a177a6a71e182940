"""Units whose channels are clustered together: single layers, or groups of channels that must be merged as one."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shoestring.channels import Axis, Group, Table
from shoestring.channels.operations import PLAIN_LAYERS
from shoestring.channels.table import group_indices
from shoestring.runtime.device import eval_mode

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


def find_norms(module: nn.Module, example: Tensor) -> dict[str, str]:
    """Return for each convolution and linear layer the batch norm that reads its output directly, if there is one."""
    outputs: dict[int, tuple[str, Tensor]] = {}  # holds the tensors: the id of a freed one would be used again
    norms: dict[str, str] = {}
    handles = []

    def remember(name: str) -> Callable[..., None]:
        def hook(layer: nn.Module, args: tuple, output: Tensor) -> None:
            outputs[id(output)] = name, output

        return hook

    def match(name: str) -> Callable[..., None]:
        def hook(norm: nn.Module, args: tuple) -> None:
            if args and id(args[0]) in outputs:
                norms[outputs[id(args[0])][0]] = name

        return hook

    for name, layer in module.named_modules():
        if isinstance(layer, PLAIN_LAYERS):
            handles.append(layer.register_forward_hook(remember(name)))
        elif isinstance(layer, _BatchNorm) and layer.running_var is not None:
            handles.append(layer.register_forward_pre_hook(match(name)))
    try:
        with eval_mode(module), torch.no_grad():
            module(example)
    finally:
        for handle in handles:
            handle.remove()
    return norms


def layer_units(module: nn.Module, example: Tensor, heads: Collection[str] = ()) -> list[Unit]:
    """Return one unit per convolution without groups that is trained and produces no logits."""
    norms, units = find_norms(module, example), []
    for name, layer in module.named_modules():
        if not isinstance(layer, _CONVOLUTIONS) or layer.groups > 1 or f"{name}.weight" in heads:
            continue
        if layer.weight.requires_grad and layer.out_channels > 1:
            own = torch.arange(layer.out_channels)[:, None]
            units.append(Unit(name, layer.out_channels, (Part(name, norms.get(name), own),)))
    return units


def group_units(module: nn.Module, example: Tensor, table: Table) -> list[Unit]:
    """Return one unit per group of channels that can be merged exactly where they are equal."""
    norms = find_norms(module, example)
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
