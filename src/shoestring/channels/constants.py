"""Channels that are the same number everywhere: the number goes into the next bias, the channel away."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from shoestring.channels.merge import folded
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
    silent = {name: own for name, group in table.groups.items() if (own := _silent(module, table, group)) is not None}
    whole = drop(module, table, {}).eval()
    expected = outputs(whole, batches[0]) if silent else []

    def holds(names: Sequence[str]) -> bool:
        changed = drop(whole, table, {})
        can = all(_shift(changed, table, table.groups[name], silent[name], means) for name in names)
        return can and same(outputs(_without(changed, table, names, silent), batches[0]), expected)

    bad = culprits(list(silent), holds)
    changed = module if inplace else drop(module, table, {})
    for name in silent.keys() - bad:
        _shift(changed, table, table.groups[name], silent[name], means)
    return _without(changed, table, silent.keys() - bad, silent)


def _silent(module: nn.Module, table: Table, group: Group) -> Tensor | None:
    """Which channels of a group have filters of zeros (size,), all but one if need be; None when none has."""
    filters = folded(module, table, group) if group.separable else None
    if filters is None:
        return None
    zero = filters[:, :-1].abs().amax(1) == 0
    zero[-1] &= not zero.all()
    return zero if zero.any() else None


def _without(module: Network, table: Table, names: Iterable[str], silent: Mapping[str, Tensor]) -> Network:
    return drop(module, table, {name: (~silent[name]).nonzero()[:, 0] for name in names}, inplace=True)


def _shift(module: nn.Module, table: Table, group: Group, silent: Tensor, means: Means) -> bool:
    """Move what silent channels contribute into the biases behind all that read them; whether that can be done."""
    named = named_tensors(module)
    for axis in group.consumers:
        target, places = _target(module, table, axis), where(table, axis, group)
        if axis not in means or target is None or places is None:
            return False
        total, rows = means[axis]
        own = places[silent].flatten()
        weight = named[axis[0]].detach().double()[:, own]
        amount = weight.flatten(2).sum(2) if weight.ndim > 2 else weight
        shifted, sign = target
        shifted.data = shifted.data + sign * (amount @ (total[own] / rows)).to(shifted)
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
