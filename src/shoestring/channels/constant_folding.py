"""Constant folding: channels with the same value everywhere are removed, and the value is added to the next bias."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from shoestring.channels.activations import visit_inputs
from shoestring.channels.bisection import find_failing
from shoestring.channels.copying import Network
from shoestring.channels.merging import folded_filters
from shoestring.channels.outputs import compute_outputs, outputs_match
from shoestring.channels.surgery import drop
from shoestring.channels.table import Axis, Group, Table, group_indices, named_tensors
from shoestring.models.layers import PLAIN_LAYERS

Sums = dict[Axis, tuple[Tensor, int]]


def fold_constants(module: Network, table: Table, batches: Iterable[Tensor], *, inplace: bool = False) -> Network:
    """Remove channels whose filters are zero, and add what they contribute to the biases that follow.

    A zero filter gives the same value at every position; `batches` (N, C, H, W) show it as the consuming layers see it.
    Its contribution is added to their biases, or subtracted from the running means of the batch norms after them. Exact
    in evaluation mode: channels are kept where the outputs for the first batch change (a layer pads its input with
    zeros and the value is not zero), and where there is no such bias or mean.
    """
    batches = list(batches)
    sums: Sums = {}

    def accumulate(axis: Axis, values: Tensor) -> None:
        total, rows = sums.get(axis, (torch.zeros(()), 0))
        sums[axis] = total + values.double().sum(0), rows + len(values)

    visit_inputs(module, table, batches, accumulate)
    constant = [f"{name}:{channel}" for name, own in table.groups.items() for channel in _constant(module, table, own)]
    whole = drop(module, table, {}).eval()
    expected = compute_outputs(whole, batches[0]) if constant else []

    def passes(channels: Sequence[str]) -> bool:
        changed = drop(whole, table, {})
        return _fold(changed, table, channels, sums) and outputs_match(compute_outputs(changed, batches[0]), expected)

    failing = find_failing(constant, passes)
    changed = module if inplace else drop(module, table, {})
    _fold(changed, table, [channel for channel in constant if channel not in failing], sums)
    return changed


def _constant(module: nn.Module, table: Table, group: Group) -> list[int]:
    """Return the channels of a group whose filters are zero, at most all but one."""
    filters = folded_filters(module, table, group) if group.separable else None
    if filters is None:
        return []
    return (filters[:, :-1].abs().amax(1) == 0).nonzero()[:, 0].tolist()[: group.size - 1]


def _fold(module: nn.Module, table: Table, channels: Sequence[str], sums: Sums) -> bool:
    """Fold the contribution of these channels ("group:index") into the next biases and drop them, if possible."""
    folded: dict[str, list[int]] = {}
    for channel in channels:
        name, _, index = channel.rpartition(":")
        folded.setdefault(name, []).append(int(index))
    named = named_tensors(module)
    for name, channel_indices in folded.items():
        for axis in table.groups[name].consumers:
            indices = group_indices(table, axis, table.groups[name])
            if axis not in sums or indices is None:
                return False
            total, rows = sums[axis]
            own = indices[channel_indices].flatten()
            if not total[own].any():  # zeros, behind a ReLU
                continue
            target = _target(module, table, axis)
            if target is None:
                return False
            weight = named[axis[0]].detach().double()[:, own]
            amount = weight.flatten(2).sum(2) if weight.ndim > 2 else weight
            shifted, sign = target
            shifted.data = shifted.data + sign * (amount @ (total[own] / rows)).to(shifted)
    kept = {
        name: torch.tensor([index for index in range(table.groups[name].size) if index not in own])
        for name, own in folded.items()
    }
    drop(module, table, kept, inplace=True)
    return True


def _target(module: nn.Module, table: Table, axis: Axis) -> tuple[Tensor, float] | None:
    """Return what shifts the outputs of a consuming layer, with its sign: the bias, or the mean of the batch norm."""
    layer: Any = module.get_submodule(axis[0].rpartition(".")[0])
    if type(layer) not in PLAIN_LAYERS:
        return None
    if layer.bias is not None:
        return layer.bias, 1.0
    outputs = table.axes.get((axis[0], 0))
    if outputs is None:
        return None
    means = [
        name for (name, _), own in table.axes.items() if name.endswith(".running_mean") and torch.equal(own, outputs)
    ]
    producers = {key for group in table.groups.values() if group.contains(outputs).any() for key in group.producers}
    return (named_tensors(module)[means[0]], -1.0) if len(means) == 1 and producers == {(axis[0], 0)} else None
