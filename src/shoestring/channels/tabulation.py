"""From the record of a traced pass to a channel table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from shoestring.channels.labels import FROZEN, Labels, first_line
from shoestring.channels.notes import trace_notes
from shoestring.channels.record import TraceRecord
from shoestring.channels.table import Axis, Group, Product, SizeAttribute, Table, named_tensors


def frozen_table(module: nn.Module, macs: int, note: str) -> Table:
    """Return the table of a module in which everything is frozen; the note says why."""
    shapes = {name: tuple(tensor.shape) for name, tensor in named_tensors(module).items()}
    parameters = frozenset(name for name, _ in module.named_parameters())
    return Table({}, {}, frozenset(), shapes, parameters, {}, (), macs, (), (note,))


def tabulate(module: nn.Module, record: TraceRecord, macs: int) -> Table:
    """Return the table of a traced module; `macs` is its total number of multiply-accumulates per image."""
    find, varies = record.labels.find, record.labels.varies
    labels = {axis: find(own) for axis, own in record.axes.items()}
    groups, ids = _group_channels(record, labels)

    def ids_of(roots: Tensor) -> Tensor:
        return torch.tensor([ids.get(root, -1) for root in roots.tolist()], dtype=torch.int64)

    axes = {axis: ids_of(roots) for axis, roots in labels.items()}
    table = Table(
        groups=groups,
        axes={axis: own for axis, own in axes.items() if bool((own >= 0).any())},
        consumers=frozenset(record.consumers),
        shapes={name: tuple(tensor.shape) for name, tensor in named_tensors(module).items()},
        parameters=frozenset(name for name, _ in module.named_parameters()),
        positions=record.positions,
        products=tuple(
            Product(count, tuple(ids_of(find(first_line(*axis))) for axis in axes if varies(*axis)))
            for count, axes in record.products
        ),
        other_macs=0,
        size_attributes=tuple(
            SizeAttribute(size.attribute, ids_of(find(first_line(own, dim))))
            for size, own, dim in record.sizes
            if varies(own, dim)
        ),
        notes=tuple(trace_notes(module, record)),
    )
    return replace(table, other_macs=macs - table.macs())


def _group_channels(record: TraceRecord, labels: Mapping[Axis, Tensor]) -> tuple[dict[str, Group], dict[int, int]]:
    """Return the groups, and the channel id of each label.

    The channels of a group have the same producers and properties, and occupy as many indices of the same axes.
    """
    producers: dict[int, list[Axis]] = {}
    for axis in record.producers:
        for channel in dict.fromkeys(labels[axis].tolist()):
            producers.setdefault(channel, []).append(axis)
    producers.pop(FROZEN, None)
    mixed, inhomogeneous = _roots(record.labels, record.mixed), _roots(record.labels, record.inhomogeneous)
    occurrences = _occurrences(labels)
    members: dict[tuple, list[int]] = {}
    for channel, own in sorted(producers.items()):
        is_mixed = channel in mixed
        key = (tuple(own), is_mixed, is_mixed or channel in inhomogeneous, tuple(occurrences[channel]))
        members.setdefault(key, []).append(channel)

    consumed = {axis: set(labels[axis].tolist()) for axis in labels if axis in record.consumers}
    groups: dict[str, Group] = {}
    ids: dict[int, int] = {}
    for (own, is_mixed, is_inhomogeneous, _), channels in members.items():
        consumers = tuple(axis for axis, roots in consumed.items() if not roots.isdisjoint(channels))
        name = _unused_name(own[0][0], groups)
        groups[name] = Group(len(ids), len(channels), own, consumers, not is_mixed, not is_inhomogeneous)
        ids |= {channel: len(ids) + index for index, channel in enumerate(channels)}
    return groups, ids


def _occurrences(labels: Mapping[Axis, Tensor]) -> dict[int, list[tuple[Axis, int]]]:
    """For each channel, return the axes on which it occurs, and how many indices of each it occupies."""
    result: dict[int, list[tuple[Axis, int]]] = {}
    for axis, roots in labels.items():
        for channel, count in zip(*(part.tolist() for part in roots.unique(return_counts=True))):
            result.setdefault(channel, []).append((axis, count))
    return result


def _roots(labels: Labels, marked: list[Tensor]) -> set[int]:
    return {root for own in marked for root in labels.find(own).unique().tolist()}


def _unused_name(weight: str, groups: Mapping[str, Group]) -> str:
    """Name a group after the layer that produces it; a layer can produce channels of several groups."""
    name = layer = weight.removesuffix(".weight")
    count = 1
    while name in groups:
        count += 1
        name = f"{layer}#{count}"
    return name
