"""Edits of channel groups, and the new layout of the axes that they change."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from shoestring.channels.table import Axis, Table

WeightTransform = Callable[[Axis, Tensor], Tensor]


@dataclass(frozen=True)
class Edit:
    """The edit of one group: new channel j is a copy of the old channel `source[j]` (k,), in ascending order.

    `transform(axis, weight)` returns the weights (..., k) with which a layer reads the new channels, from its old ones
    (..., size). None takes those of the sources, which drops the rest. `gradient_scale` (k,) is the fraction of its
    source's gradient that the producers of a new channel will get; None means all of it.
    """

    source: Tensor
    transform: WeightTransform | None = None
    gradient_scale: Tensor | None = None


@dataclass(frozen=True)
class Layout:
    """The new layout of an axis.

    `sources` (length,) are the old indices that its entries come from. `copies` (length,) are the new channels of their
    group that they belong to, -1 for entries of no edited group.
    """

    sources: Tensor
    copies: Tensor


def new_layouts(table: Table, edits: Mapping[str, Edit]) -> dict[Axis, Layout]:
    """Return the new layout of every axis that an edit changes."""
    copies: dict[int, list[int]] = {}
    for name, edit in edits.items():
        group = table.group(name)
        assert bool((edit.source[1:] >= edit.source[:-1]).all()), "sources must be in ascending order"
        copies |= {channel: [] for channel in range(group.start, group.start + group.size)}
        for index, channel in enumerate((edit.source + group.start).tolist()):
            copies[channel].append(index)
    return {
        axis: _layout(ids.tolist(), copies)
        for axis, ids in table.axes.items()
        if not copies.keys().isdisjoint(ids.tolist())
    }


def _layout(ids: list[int], copies: Mapping[int, list[int]]) -> Layout:
    """Runs of one channel, which flattened feature maps have, are copied or dropped as a whole."""
    sources: list[int] = []
    new_channels: list[int] = []
    start = 0
    while start < len(ids):
        end = start + 1
        while end < len(ids) and ids[end] == ids[start] >= 0:
            end += 1
        for copy in copies.get(ids[start], [-1]):
            sources += range(start, end)
            new_channels += [copy] * (end - start)
        start = end
    return Layout(torch.tensor(sources, dtype=torch.int64), torch.tensor(new_channels, dtype=torch.int64))
