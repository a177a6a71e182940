"""The channel table: for every axis of every parameter and buffer, which channel each index belongs to."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import torch
from torch import Tensor, nn

from shoestring.channels.tagged_sizes import AttributeRef

Axis = tuple[str, int]
Kept = Mapping[str, Tensor]


@dataclass(frozen=True)
class Group:
    """Channels that the same layers produce; dropping one removes all indices that it occupies, on all axes.

    Their ids in the table are `start` to `start + size - 1`. `producers` are the axes (tensor name, dimension) that
    create the channels, `consumers` those of the weights that are multiplied with them.

    - `separable`: dropping a channel is the same as setting it to zero. Otherwise the channels meet statistics or
      products over channels, such as layer normalization.
    - `homogeneous`: the channels meet only layers, batch norms and functions with f(ax) = a f(x) for a > 0.
    - `copyable`: channels can be duplicated.
    - `extendable`: channels of any content can be added as long as nothing reads them.
    """

    start: int
    size: int
    producers: tuple[Axis, ...]
    consumers: tuple[Axis, ...]
    separable: bool = True
    homogeneous: bool = False
    copyable: bool = True
    extendable: bool = True

    def contains(self, ids: Tensor) -> Tensor:
        """Return which of these channel ids belong to the group."""
        return (ids >= self.start) & (ids < self.start + self.size)


@dataclass(frozen=True)
class SizeAttribute:
    """An integer attribute of a module that equals the size of an axis with these channel ids (-1: frozen)."""

    attribute: AttributeRef
    channels: Tensor


@dataclass(frozen=True)
class Product:
    """Multiply-accumulates per image of a product without weights, proportional to axes (given as channel ids)."""

    macs: int
    axes: tuple[Tensor, ...]

    def remaining(self, kept: Tensor) -> int:
        """Return the MACs that remain with the channels of a mask (channels in the table + 1,)."""
        fractions = (int(kept[axis].sum()) / len(axis) for axis in self.axes)
        return round(self.macs * prod(fractions))


@dataclass(frozen=True)
class Table:
    """All channel groups of a network, the channel ids of its axes, and the cost of its layers.

    - `axes` maps (tensor name, dimension) to channel ids (size of the axis,), -1 for frozen channels. A channel can
      occupy several indices of an axis.
    - `consumers` are the axes of weights that are multiplied with channels.
    - `positions` counts how often one image uses a weight. `products` and `other_macs` are multiply-accumulates without
      weights: those that shrink with channels, and the rest.
    - `size_attributes` are the integer attributes of modules that follow the channels.
    - `notes` explains what could not be traced or is frozen.

    The channels to keep are given as `Kept`: indices (k,) by group name. Groups that are not named keep all channels.
    """

    groups: dict[str, Group]
    axes: dict[Axis, Tensor]
    consumers: frozenset[Axis]
    shapes: dict[str, tuple[int, ...]]
    parameters: frozenset[str]
    positions: dict[str, int]
    products: tuple[Product, ...]
    other_macs: int
    size_attributes: tuple[SizeAttribute, ...]
    notes: tuple[str, ...]

    @cached_property
    def size(self) -> int:
        """The number of channels that can be pruned."""
        return sum(group.size for group in self.groups.values())

    def split(self, values: Tensor) -> dict[str, Tensor]:
        """Split values of all channels (size,) by group."""
        return {name: values[group.start : group.start + group.size] for name, group in self.groups.items()}

    def kept_mask(self, kept: Kept) -> Tensor:
        """Return which channels are kept, bool (size + 1,); the last entry is for frozen channels (-1)."""
        mask = torch.ones(self.size + 1, dtype=torch.bool)
        for name, indices in kept.items():
            group = self.groups[name]
            mask[group.start : group.start + group.size] = False
            mask[group.start + indices] = True
        return mask

    def group(self, name: str) -> Group:
        """Return the group of that name. Raises `ValueError`, with the existing names, if there is none."""
        if name not in self.groups:
            raise ValueError(f"no group '{name}': the groups are {', '.join(self.groups) or 'none'}.")
        return self.groups[name]

    def validate(self, module: nn.Module, kept: Kept) -> None:
        """Raise `ValueError` if the table belongs to another network, or if `kept` is invalid."""
        for name, tensor in named_tensors(module).items():
            if tuple(tensor.shape) != self.shapes.get(name):
                raise ValueError(
                    f"this table belongs to another network: here {name} has the shape {tuple(tensor.shape)}."
                )
        for name, indices in kept.items():
            size = self.group(name).size
            inside = len(indices) > 0 and int(indices.min()) >= 0 and int(indices.max()) < size
            if not inside or len(indices.unique()) < len(indices):
                raise ValueError(
                    f"group '{name}' has {size} channels: keep at least one, each once, not {indices.tolist()}."
                )

    def kept_indices(self, kept: Kept) -> dict[Axis, Tensor]:
        """Return the kept indices of every axis that loses some."""
        mask = self.kept_mask(kept)
        return {axis: mask[ids].nonzero()[:, 0] for axis, ids in self.axes.items() if not mask[ids].all()}

    def sizes(self, kept: Kept) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter and buffer after pruning."""
        sizes = {name: list(shape) for name, shape in self.shapes.items()}
        for (name, dim), indices in self.kept_indices(kept).items():
            sizes[name][dim] = len(indices)
        return {name: tuple(shape) for name, shape in sizes.items()}

    def params(self, kept: Kept | None = None) -> int:
        """Return the number of parameters after pruning, or of the whole network."""
        sizes = self.sizes(kept or {})
        return sum(prod(sizes[name]) for name in self.parameters)

    def macs(self, kept: Kept | None = None) -> int:
        """Return the MACs per image after pruning, or of the whole network, as `evaluation.cost.count_macs` does."""
        sizes, mask = self.sizes(kept or {}), self.kept_mask(kept or {})
        layers = sum(times * prod(sizes[name]) for name, times in self.positions.items())
        return layers + sum(product.remaining(mask) for product in self.products) + self.other_macs

    def with_frozen(self, names: set[str], note: str) -> Table:
        """Return the table with these groups frozen and the note added."""
        new_ids = torch.full((self.size + 1,), -1)
        groups: dict[str, Group] = {}
        start = 0
        for name, group in self.groups.items():
            if name not in names:
                groups[name] = replace(group, start=start)
                new_ids[group.start : group.start + group.size] = torch.arange(start, start + group.size)
                start += group.size
        axes = {axis: new_ids[ids] for axis, ids in self.axes.items()}
        return replace(
            self,
            groups=groups,
            axes={axis: ids for axis, ids in axes.items() if bool((ids >= 0).any())},
            products=tuple(replace(one, axes=tuple(new_ids[ids] for ids in one.axes)) for one in self.products),
            size_attributes=tuple(replace(one, channels=new_ids[one.channels]) for one in self.size_attributes),
            notes=(*self.notes, note),
        )

    def after(self, kept: Kept) -> Table:
        """Return the table of the network after dropping all channels but these."""
        mask = self.kept_mask(kept)
        new_ids = torch.where(mask, mask.cumsum(0) - 1, -1)
        new_ids[-1] = -1

        def remaining(ids: Tensor) -> Tensor:
            return new_ids[ids[mask[ids]]]

        groups = {
            name: replace(
                group,
                start=int(mask[: group.start].sum()),
                size=int(mask[group.start : group.start + group.size].sum()),
            )
            for name, group in self.groups.items()
        }
        return replace(
            self,
            groups=groups,
            axes={axis: remaining(ids) for axis, ids in self.axes.items()},
            shapes=self.sizes(kept),
            products=tuple(Product(one.remaining(mask), tuple(map(remaining, one.axes))) for one in self.products),
            size_attributes=tuple(replace(one, channels=remaining(one.channels)) for one in self.size_attributes),
        )

    def __str__(self) -> str:
        rows = [
            f"{name}: {group.size} channels, {len(group.producers)} producers, {len(group.consumers)} consumers"
            for name, group in self.groups.items()
        ]
        total = f"{self.size} channels in {len(self.groups)} groups, {self.params():,} params, {self.macs():,} MACs"
        return "\n".join([*rows, total, *self.notes])


def named_tensors(module: nn.Module) -> dict[str, Tensor]:
    """Return all parameters and buffers by name; shared ones once."""
    return dict(module.named_parameters()) | dict(module.named_buffers())


def group_indices(table: Table, axis: Axis, group: Group) -> Tensor | None:
    """Return the indices that a group's channels occupy along an axis, (size, indices of each), or None if none."""
    ids = table.axes[axis]
    own = group.contains(ids).nonzero()[:, 0]
    return own[ids[own].argsort(stable=True)].view(group.size, -1) if len(own) else None


def channel_rows(tensor: Tensor, table: Table, axis: Axis, group: Group) -> Tensor | None:
    """Return the entries of a tensor for each channel of the group along an axis, (size, D), or None if it has none."""
    indices = group_indices(table, axis, group)
    if indices is None:
        return None
    rows = tensor.detach().double().cpu().movedim(axis[1], 0)
    return rows[indices.flatten()].unflatten(0, indices.shape).flatten(1)
