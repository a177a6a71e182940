"""The channel table: for every axis of every parameter and buffer, which channel each index belongs to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import torch
from torch import Tensor, nn

from shoestring.channels.labels import FROZEN, Labels
from shoestring.channels.numbers import Attribute
from shoestring.channels.tracer import Axis, Tracer, layers_of, line

Kept = Mapping[str, Tensor]
_LISTED = 10  # names in a note


@dataclass(frozen=True)
class Group:
    """Channels that the same layers make and that can only be cut together with their places in all of them.

    They have the numbers `start` to `start + size - 1` in the table. `producers` are the axes (tensor name, dimension)
    that make them, `consumers` those that layers read them by. Dropping channels of a `separable` group is the same as
    silencing them; others meet statistics or products over channels, such as layer normalization. Channels of a
    `proportional` group meet nothing that a factor above zero could not be drawn through. Those of a `copyable` group
    can be copied, and to an `extendable` one channels of any content can be added that nothing reads.
    """

    start: int
    size: int
    producers: tuple[Axis, ...]
    consumers: tuple[Axis, ...]
    separable: bool = True
    proportional: bool = False
    copyable: bool = True
    extendable: bool = True

    def holds(self, numbers: Tensor) -> Tensor:
        """Which of these channel numbers are of this group."""
        return (numbers >= self.start) & (numbers < self.start + self.size)


@dataclass(frozen=True)
class Size:
    """A number that a module keeps in its own code, which follows the channels (-1: never cut) of one axis."""

    attribute: Attribute
    channels: Tensor


@dataclass(frozen=True)
class Product:
    """Multiply-accumulates of one image for a product without weights, proportional to axes (channel numbers)."""

    macs: int
    axes: tuple[Tensor, ...]

    def left(self, stays: Tensor) -> int:
        """Those that are left with the channels that stay (channels of the table + 1,)."""
        parts = (int(stays[axis].sum()) / len(axis) for axis in self.axes)
        return round(self.macs * prod(parts))


@dataclass(frozen=True)
class Table:
    """All groups of a network, the channel numbers of its axes (-1: never cut), and what its layers cost.

    `axes` maps (tensor name, dimension) to numbers (size of the axis,); a channel can stand at several places of one.
    `positions` counts how often one image uses a weight, `products` and `other_macs` are multiply-accumulates without
    weights: those that shrink with channels, and the rest. `notes` says what could not be followed or cut, and why.
    """

    groups: dict[str, Group]
    axes: dict[Axis, Tensor]
    readers: frozenset[Axis]
    shapes: dict[str, tuple[int, ...]]
    parameters: frozenset[str]
    positions: dict[str, int]
    products: tuple[Product, ...]
    other_macs: int
    sizes_in_code: tuple[Size, ...]
    notes: tuple[str, ...]

    @cached_property
    def size(self) -> int:
        """The number of channels that can be cut."""
        return sum(group.size for group in self.groups.values())

    def split(self, values: Tensor) -> dict[str, Tensor]:
        """Values of all channels (size,) by group."""
        return {name: values[group.start : group.start + group.size] for name, group in self.groups.items()}

    def stays(self, kept: Kept) -> Tensor:
        """Whether each channel stays, bool (size + 1,), when of each group named only these channels are kept.

        Groups that are not named stay whole. The last place answers for -1.
        """
        stays = torch.ones(self.size + 1, dtype=torch.bool)
        for name, indices in kept.items():
            group = self.groups[name]
            stays[group.start : group.start + group.size] = False
            stays[group.start + indices] = True
        return stays

    def group(self, name: str) -> Group:
        """The group of that name; `ValueError` with those that there are when there is none."""
        if name not in self.groups:
            raise ValueError(f"no group '{name}': the groups are {', '.join(self.groups) or 'none'}.")
        return self.groups[name]

    def check(self, module: nn.Module, kept: Kept) -> None:
        """Raise `ValueError` when the table is of another network, or when these channels cannot be what stays."""
        for name, tensor in named_tensors(module).items():
            if tuple(tensor.shape) != self.shapes.get(name):
                raise ValueError(f"this table is of another network: {name} has the shape {tuple(tensor.shape)} here.")
        for name, indices in kept.items():
            size = self.group(name).size
            inside = len(indices) > 0 and int(indices.min()) >= 0 and int(indices.max()) < size
            if not inside or len(indices.unique()) < len(indices):
                raise ValueError(
                    f"of the {size} channels of group '{name}' some must stay, each once: {indices.tolist()}."
                )

    def selection(self, kept: Kept) -> dict[Axis, Tensor]:
        """The indices that stay of every axis that loses some."""
        stays = self.stays(kept)
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
        """Multiply-accumulates for one image after this cut, as `evaluate.cost.count_macs` counts them."""
        sizes, stays = self.sizes(kept or {}), self.stays(kept or {})
        layers = sum(times * prod(sizes[name]) for name, times in self.positions.items())
        return layers + sum(product.left(stays) for product in self.products) + self.other_macs

    def without(self, names: set[str], note: str) -> Table:
        """The same table with these groups frozen."""
        renumbered = torch.full((self.size + 1,), -1)
        groups: dict[str, Group] = {}
        start = 0
        for name, group in self.groups.items():
            if name not in names:
                groups[name] = replace(group, start=start)
                renumbered[group.start : group.start + group.size] = torch.arange(start, start + group.size)
                start += group.size
        axes = {axis: renumbered[numbers] for axis, numbers in self.axes.items()}
        return replace(
            self,
            groups=groups,
            axes={axis: numbers for axis, numbers in axes.items() if bool((numbers >= 0).any())},
            products=tuple(
                replace(one, axes=tuple(renumbered[numbers] for numbers in one.axes)) for one in self.products
            ),
            sizes_in_code=tuple(replace(one, channels=renumbered[one.channels]) for one in self.sizes_in_code),
            notes=(*self.notes, note),
        )

    def after(self, kept: Kept) -> Table:
        """The table of the network that is left of this one after this cut."""
        stays = self.stays(kept)
        renumbered = torch.where(stays, stays.cumsum(0) - 1, -1)
        renumbered[-1] = -1

        def left(numbers: Tensor) -> Tensor:
            return renumbered[numbers[stays[numbers]]]

        groups = {
            name: replace(
                group,
                start=int(stays[: group.start].sum()),
                size=int(stays[group.start : group.start + group.size].sum()),
            )
            for name, group in self.groups.items()
        }
        return replace(
            self,
            groups=groups,
            axes={axis: left(numbers) for axis, numbers in self.axes.items()},
            shapes=self.sizes(kept),
            products=tuple(Product(one.left(stays), tuple(map(left, one.axes))) for one in self.products),
            sizes_in_code=tuple(replace(one, channels=left(one.channels)) for one in self.sizes_in_code),
        )

    def __str__(self) -> str:
        rows = [
            f"{name}: {group.size} channels, made by {len(group.producers)}, used by {len(group.consumers)} layers"
            for name, group in self.groups.items()
        ]
        total = f"{self.size} channels in {len(self.groups)} groups, {self.params():,} params, {self.macs():,} MACs"
        return "\n".join([*rows, total, *self.notes])


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """All parameters and buffers by name; those that layers share once."""
    return dict(module.named_parameters()) | dict(module.named_buffers())


def where(table: Table, axis: Axis, group: Group) -> Tensor | None:
    """Where the channels of a group stand along an axis: (size, places of each), or None when they do not."""
    numbers = table.axes[axis]
    own = group.holds(numbers).nonzero()[:, 0]
    return own[numbers[own].argsort(stable=True)].view(group.size, -1) if len(own) else None


def untouched(module: nn.Module, macs: int, note: str) -> Table:
    """The table of a module of which nothing can be cut, and why."""
    shapes = {name: tuple(tensor.shape) for name, tensor in named_tensors(module).items()}
    parameters = frozenset(name for name, _ in module.named_parameters())
    return Table({}, {}, frozenset(), shapes, parameters, {}, (), macs, (), (note,))


def tabulate(module: nn.Module, tracer: Tracer, macs: int = 0) -> Table:
    """The table of what a tracer found out about a module that takes so many multiply-accumulates for one image."""
    axes = {axis: tracer.labels.find(labels) for axis, labels in tracer.axes.items()}
    makers: dict[int, list[Axis]] = {}
    for axis in tracer.producers:
        for channel in dict.fromkeys(axes[axis].tolist()):
            makers.setdefault(channel, []).append(axis)
    makers.pop(FROZEN, None)
    mixed, bent = _roots(tracer.labels, tracer.mixed), _roots(tracer.labels, tracer.bent)
    stands = _stands(axes)
    members: dict[tuple, list[int]] = {}
    for channel, own in sorted(makers.items()):
        is_mixed = channel in mixed
        kind = (tuple(own), is_mixed, is_mixed or channel in bent, tuple(stands[channel]))
        members.setdefault(kind, []).append(channel)

    read = {axis: set(axes[axis].tolist()) for axis in axes if axis in tracer.readers}
    groups: dict[str, Group] = {}
    numbers: dict[int, int] = {}
    for (own, is_mixed, is_bent, _), channels in members.items():
        users = tuple(axis for axis, labels in read.items() if not labels.isdisjoint(channels))
        name = _unused_name(own[0][0], groups)
        groups[name] = Group(len(numbers), len(channels), own, users, not is_mixed, not is_bent)
        numbers |= {channel: len(numbers) + index for index, channel in enumerate(channels)}

    def numbered(labels: Tensor) -> Tensor:
        return torch.tensor([numbers.get(one, -1) for one in labels.tolist()], dtype=torch.int64)

    def varies(labels: Tensor, dim: int) -> bool:
        return tracer.labels.varies(labels, dim)

    every = {axis: numbered(labels) for axis, labels in axes.items()}
    named = named_tensors(module)
    table = Table(
        groups=groups,
        axes={axis: own for axis, own in every.items() if bool((own >= 0).any())},
        readers=frozenset(tracer.readers),
        shapes={name: tuple(tensor.shape) for name, tensor in named.items()},
        parameters=frozenset(name for name, _ in module.named_parameters()),
        positions=tracer.positions,
        products=tuple(
            Product(count, tuple(numbered(tracer.labels.find(line(*axis))) for axis in axes if varies(*axis)))
            for count, axes in tracer.products
        ),
        other_macs=0,
        sizes_in_code=tuple(
            Size(size.attribute, numbered(tracer.labels.find(line(labels, dim))))
            for size, labels, dim in tracer.sizes
            if varies(labels, dim)
        ),
        notes=tuple(_notes(module, tracer)),
    )
    return replace(table, other_macs=macs - table.macs())


def _notes(module: nn.Module, tracer: Tracer) -> Iterator[str]:
    """Why channels that layers make are never cut, and which layers were not met."""
    reasons: dict[str, list[str]] = {}
    for name, dim in tracer.producers:
        for reason in tracer.labels.why(tracer.axes[name, dim]):
            reasons.setdefault(reason, []).append(name.removesuffix(".weight"))
    for reason, names in reasons.items():
        yield f"channels of {listed(names)} stay: {reason}."
    if tracer.computed:
        yield f"channels that {listed(tracer.computed)} make or read stay: the weights are no parameters."
    for parameters, when in ((tracer.unused, "never runs"), (tracer.trained_only, "runs only in training mode")):
        if parameters:
            yield f"{listed(layers_of(module, parameters))} {when} and stays as it is."


def listed(names: Iterable[str]) -> str:
    """Names for a sentence, the first ten of them."""
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return f"{', '.join(names[:_LISTED])}{more}"


def _stands(axes: Mapping[Axis, Tensor]) -> dict[int, list[tuple[Axis, int]]]:
    """For each channel the axes it stands on, and at how many places of each."""
    found: dict[int, list[tuple[Axis, int]]] = {}
    for axis, labels in axes.items():
        for channel, count in zip(*(part.tolist() for part in labels.unique(return_counts=True))):
            found.setdefault(channel, []).append((axis, count))
    return found


def _roots(labels: Labels, marked: list[Tensor]) -> set[int]:
    return {root for own in marked for root in labels.find(own).unique().tolist()}


def _unused_name(weight: str, groups: Mapping[str, Group]) -> str:
    """The layer's name for its channels; a layer can make channels of several groups."""
    name = layer = weight.removesuffix(".weight")
    count = 1
    while name in groups:
        count += 1
        name = f"{layer}#{count}"
    return name
