"""The channel table: for every axis of every parameter and buffer, which channel each index belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from math import prod

import torch
from torch import Tensor, nn

from shoestring.channels.labels import FROZEN
from shoestring.channels.rules import RULES
from shoestring.channels.tracer import Axis, Tracer

Kept = Mapping[str, Tensor]


@dataclass(frozen=True)
class Group:
    """Channels that the same layers make and that can only be cut together with their places in all of them.

    They have the numbers `start` to `start + size - 1` in the table. `producers` are the weights whose first axis
    makes them, `consumers` the weights whose second axis takes them in.
    """

    start: int
    size: int
    producers: tuple[str, ...]
    consumers: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """All groups of a network, the channel numbers of its axes (-1: never cut), and what its layers cost.

    `axes` maps (tensor name, dimension) to numbers (size of the axis,). `positions` counts how often one image uses a
    weight, `notes` says what could not be followed.
    """

    groups: dict[str, Group]
    axes: dict[Axis, Tensor]
    shapes: dict[str, tuple[int, ...]]
    parameters: frozenset[str]
    positions: dict[str, int]
    notes: tuple[str, ...]

    @cached_property
    def size(self) -> int:
        """The number of channels that can be cut."""
        return sum(group.size for group in self.groups.values())

    def split(self, values: Tensor) -> dict[str, Tensor]:
        """Values of all channels (size,) by group."""
        return {name: values[group.start : group.start + group.size] for name, group in self.groups.items()}

    def selection(self, kept: Kept) -> dict[Axis, Tensor]:
        """The indices that stay of every axis that loses some, when of each group named only these channels are kept.

        At least one channel of a group stays; groups that are not named stay whole.
        """
        stays = torch.ones(self.size + 1, dtype=torch.bool)  # the last place answers for number -1
        for name, indices in kept.items():
            group = self.groups[name]
            assert set(indices.tolist()) <= set(range(group.size)) and len(indices), f"{name}: {indices}"
            stays[group.start : group.start + group.size] = False
            stays[group.start + indices] = True
        return {axis: stays[numbers].nonzero()[:, 0] for axis, numbers in self.axes.items() if not stays[numbers].all()}

    def sizes(self, kept: Kept) -> dict[str, tuple[int, ...]]:
        """The shape of every parameter and buffer after this cut."""
        sizes = {name: list(shape) for name, shape in self.shapes.items()}
        for (name, dim), indices in self.selection(kept).items():
            sizes[name][dim] = len(indices)
        return {name: tuple(shape) for name, shape in sizes.items()}

    def params(self, kept: Kept | None = None) -> int:
        """The number of parameters after this cut (of the whole network without one)."""
        sizes = self.sizes(kept or {})
        return sum(prod(sizes[name]) for name in self.parameters)

    def macs(self, kept: Kept | None = None) -> int:
        """Multiply-accumulates of convolutions and linear layers for one image after this cut."""
        sizes = self.sizes(kept or {})
        return sum(times * prod(sizes[name]) for name, times in self.positions.items())

    def __str__(self) -> str:
        rows = [
            f"{name}: {group.size} channels, made by {len(group.producers)}, used by {len(group.consumers)} layers"
            for name, group in self.groups.items()
        ]
        total = f"{self.size} channels in {len(self.groups)} groups, {self.params():,} params, {self.macs():,} MACs"
        return "\n".join([*rows, total, *self.notes])


def trace(module: nn.Module, example: Tensor) -> Table:
    """The channel table of a module, from one forward pass of `example` (N, C, H, W) in evaluation mode.

    Channels of the input and of the output, and those that meet an operation without a rule, are never cut; `notes`
    names the operation. A module that cannot be traced at all gives a table without groups.
    """
    tracer = Tracer(module, RULES)
    notes: list[str] = []
    try:
        tracer.run(example)
        notes += [f"channels that meet '{name}' stay: it has no rule here." for name in tracer.notes]
    except Exception as error:  # whatever a foreign module does with its tensors: it is then left whole
        tracer = Tracer(module, RULES)
        notes.append(f"nothing can be cut: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}")
    return _table(module, tracer, tuple(notes))


def _table(module: nn.Module, tracer: Tracer, notes: tuple[str, ...]) -> Table:
    axes = {axis: tracer.labels.find(labels) for axis, labels in tracer.axes.items()}
    makers: dict[int, list[str]] = {}
    for weight in tracer.producers:
        for channel in dict.fromkeys(axes[weight, 0].tolist()):
            makers.setdefault(channel, []).append(weight)
    makers.pop(FROZEN, None)
    members: dict[tuple[str, ...], list[int]] = {}
    for channel, weights in sorted(makers.items()):
        members.setdefault(tuple(weights), []).append(channel)

    inputs = {name: set(labels.tolist()) for (name, dim), labels in axes.items() if dim == 1}
    groups: dict[str, Group] = {}
    numbers: dict[int, int] = {}
    for weights, channels in members.items():
        users = [name for name, labels in inputs.items() if not labels.isdisjoint(channels)]
        groups[_unused_name(weights[0], groups)] = Group(len(numbers), len(channels), weights, tuple(users))
        numbers |= {channel: len(numbers) + index for index, channel in enumerate(channels)}
    numbered = {axis: torch.tensor([numbers.get(one, -1) for one in labels.tolist()]) for axis, labels in axes.items()}
    named = dict(module.named_parameters()) | dict(module.named_buffers())
    return Table(
        groups=groups,
        axes={axis: own for axis, own in numbered.items() if bool((own >= 0).any())},
        shapes={name: tuple(tensor.shape) for name, tensor in named.items()},
        parameters=frozenset(name for name, _ in module.named_parameters()),
        positions=tracer.positions,
        notes=notes,
    )


def _unused_name(weight: str, groups: Mapping[str, Group]) -> str:
    """The layer's name for its channels; a layer can make channels of several groups."""
    name = layer = weight.removesuffix(".weight")
    count = 1
    while name in groups:
        count += 1
        name = f"{layer}#{count}"
    return name
