"""Channels that are the same number everywhere: the number goes into the next bias, the channel away."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from shoestring.channels.merge import folded
from shoestring.channels.readers import visit
from shoestring.channels.surgery import Network, drop
from shoestring.channels.table import Group, Table
from shoestring.channels.tracer import Axis

_SPREAD = 1e-6  # of a constant channel's activations, relative to the largest activation of its layer


def fold_constants(module: Network, table: Table, batches: Iterable[Tensor], **more: Any) -> Network:
    """The module without channels whose filters are zero, what they contribute kept in the biases behind them.

    A filter of zeros gives the same number at every place, which `batches` (N, C, H, W) show as the reading layers see
    it. It is added to their biases, or taken from the running means of the batch norms that follow them. Exact in
    evaluation mode; a channel stays where neither is there, or where a reading layer pads its maps with zeros and the
    number is not zero. Further arguments are those of `drop`.
    """
    seen: dict[Axis, tuple[Tensor, Tensor]] = {}

    def note(axis: Axis, values: Tensor) -> None:
        low, high = values.amin(0), values.amax(0)
        if axis in seen:
            low, high = torch.minimum(low, seen[axis][0]), torch.maximum(high, seen[axis][1])
        seen[axis] = low, high

    visit(module, table, batches, note)
    changed = drop(module, table, {}, **more)
    named = dict(changed.named_parameters()) | dict(changed.named_buffers())
    kept = {}
    for name, group in table.groups.items():
        gone = [
            channel for channel in _silent(module, table, group) if _fold(changed, named, table, group, channel, seen)
        ]
        if gone:
            stays = torch.ones(group.size, dtype=torch.bool)
            stays[gone[: group.size - 1]] = False
            kept[name] = stays.nonzero()[:, 0]
    return drop(changed, table, kept, **{**more, "inplace": True})


def _silent(module: nn.Module, table: Table, group: Group) -> list[int]:
    """The channels of a group whose filters are zero; one always stays."""
    filters = folded(module, table, group) if group.separable else None
    if filters is None:
        return []
    return (filters[:, :-1].abs().amax(1) == 0).nonzero()[:, 0].tolist()[: group.size - 1]


def _fold(
    changed: nn.Module,
    named: dict[str, Tensor],
    table: Table,
    group: Group,
    channel: int,
    seen: dict[Axis, tuple[Tensor, Tensor]],
) -> bool:
    """Move what a constant channel contributes into the biases behind all that read it; whether that can be done."""
    shifts: list[tuple[Tensor, Tensor]] = []
    for axis in group.consumers:
        if axis not in seen:
            return False
        place = (table.axes[axis] == group.start + channel).nonzero()[:, 0]
        low, high = seen[axis]
        value = (low[place] + high[place]) / 2
        layer = changed.get_submodule(axis[0].rpartition(".")[0])
        if (high[place] - low[place]).max() > _SPREAD * high.abs().max().clamp_min(1e-30):
            return False
        padded = not isinstance(layer, nn.Linear) and layer.padding not in ("valid", 0, (0, 0), (0,))
        target = _shift(named, table, axis)
        if target is None or (padded and bool((value != 0).any())):
            return False
        weight = named[axis[0]].detach().movedim(axis[1], -1)[..., place]  # (outputs, ..., places)
        shifts.append(
            (named[target[0]], target[1] * (weight.flatten(1, -2).sum(1) if weight.ndim > 2 else weight) @ value)
        )
    with torch.no_grad():
        for tensor, amount in shifts:
            tensor.add_(amount)
    return True


def _shift(named: dict[str, Tensor], table: Table, axis: Axis) -> tuple[str, float] | None:
    """What moves the outputs of a reading layer, and in which direction: its bias, or the mean of its batch norm."""
    weight, _, _ = axis[0].rpartition(".")
    if f"{weight}.bias" in named:
        return f"{weight}.bias", 1.0
    made = table.axes.get((axis[0], 0))
    for (name, _), numbers in table.axes.items():
        if made is not None and name.endswith(".running_mean") and torch.equal(numbers, made):
            owner = next(
                group for group in table.groups.values() if group.start <= int(made.max()) < group.start + group.size
            )
            if owner.producers == ((axis[0], 0),):
                return name, -1.0
    return None
