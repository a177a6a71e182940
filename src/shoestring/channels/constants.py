"""Channels that are the same number everywhere: the number goes into the next bias, the channel away."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from shoestring.channels.merging import folded
from shoestring.channels.readers import LAYERS, visit
from shoestring.channels.surgery import Network, drop
from shoestring.channels.table import Group, Table, named_tensors, where
from shoestring.channels.tracer import Axis
from shoestring.channels.trial import culprits, outputs, same

Means = dict[Axis, tuple[Tensor, int]]


def fold_constants(module: Network, table: Table, batches: Iterable[Tensor], *, inplace: bool = False) -> Network:
    """The module without channels whose filters are zero, what they contribute kept in the biases behind them.

    A filter of zeros gives the same number at every place, which `batches` (N, C, H, W) show as the reading layers see
    it. It is added to their biases, or taken from the running means of the batch norms that follow them. Exact in
    evaluation mode: the channels stay where the outputs for the first batch change (a layer pads its maps with zeros
    and the number is not zero), and where there is no such bias or mean.
    """
    batches = list(batches)
    means: Means = {}

    def note(axis: Axis, values: Tensor) -> None:
        total, rows = means.get(axis, (torch.zeros(()), 0))
        means[axis] = total + values.double().sum(0), rows + len(values)

    visit(module, table, batches, note)
    silent = [f"{name}:{channel}" for name, own in table.groups.items() for channel in _silent(module, table, own)]
    whole = drop(module, table, {}).eval()
    expected = outputs(whole, batches[0]) if silent else []

    def holds(channels: Sequence[str]) -> bool:
        changed = drop(whole, table, {})
        return _fold(changed, table, channels, means) and same(outputs(changed, batches[0]), expected)

    bad = culprits(silent, holds)
    changed = module if inplace else drop(module, table, {})
    _fold(changed, table, [channel for channel in silent if channel not in bad], means)
    return changed


def _silent(module: nn.Module, table: Table, group: Group) -> list[int]:
    """The channels of a group whose filters are zero; one channel of the group always stays."""
    filters = folded(module, table, group) if group.separable else None
    if filters is None:
        return []
    return (filters[:, :-1].abs().amax(1) == 0).nonzero()[:, 0].tolist()[: group.size - 1]


def _fold(module: nn.Module, table: Table, channels: Sequence[str], means: Means) -> bool:
    """Move what these channels ("group:index") contribute into the biases behind them and drop them, if that can be."""
    gone: dict[str, list[int]] = {}
    for channel in channels:
        name, _, index = channel.rpartition(":")
        gone.setdefault(name, []).append(int(index))
    named = named_tensors(module)
    for name, indices in gone.items():
        for axis in table.groups[name].consumers:
            target, places = _target(module, table, axis), where(table, axis, table.groups[name])
            if axis not in means or target is None or places is None:
                return False
            total, rows = means[axis]
            own = places[indices].flatten()
            weight = named[axis[0]].detach().double()[:, own]
            amount = weight.flatten(2).sum(2) if weight.ndim > 2 else weight
            shifted, sign = target
            shifted.data = shifted.data + sign * (amount @ (total[own] / rows)).to(shifted)
    every = {name: set(range(table.groups[name].size)) for name in gone}
    drop(
        module, table, {name: torch.tensor(sorted(every[name] - set(own))) for name, own in gone.items()}, inplace=True
    )
    return True


def _target(module: nn.Module, table: Table, axis: Axis) -> tuple[Tensor, float] | None:
    """What moves the outputs of a reading layer, and in which direction: its bias, or the mean of its batch norm."""
    layer: Any = module.get_submodule(axis[0].rpartition(".")[0])
    if type(layer) not in LAYERS:
        return None
    if layer.bias is not None:
        return layer.bias, 1.0
    made = table.axes.get((axis[0], 0))
    if made is None:
        return None
    means = [name for (name, _), own in table.axes.items() if name.endswith(".running_mean") and torch.equal(own, made)]
    makers = {key for group in table.groups.values() if group.holds(made).any() for key in group.producers}
    return (named_tensors(module)[means[0]], -1.0) if len(means) == 1 and makers == {(axis[0], 0)} else None
