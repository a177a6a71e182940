"""More channels that change nothing at first: the inverse of pruning, for networks that grow."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from shoestring.channels.surgery import Edit, Network, Reader, layouts, operate
from shoestring.channels.table import Group, Table, named_tensors
from shoestring.channels.tracer import Axis

_SPREAD = 0.85  # of the random parts that a weight is split into: halves are 0.5 with a deviation of 0.3


def widen(
    module: Network,
    table: Table,
    sizes: Mapping[str, int],
    *,
    new: Literal["copies", "fresh"] = "copies",
    seed: int = 0,
    **more: Any,
) -> Network:
    """The module with so many channels in each group named, computing the same function.

    With "copies" new channels are copies of old ones chosen at random, each about equally often, and every weight that
    reads a channel is split between its copies at random: Net2Net (Chen et al. 2016), but with a split for each weight,
    because copies that are read alike get the same gradient and stay copies for ever. With "fresh" the new channels
    start as random as the old ones are spread, and are read with zero weights. Further arguments are those of
    `operate`.

    Raises `ValueError` for unknown groups, for fewer channels than there are, and where the function would change:
    channels under a normalization over channels can only be copied all equally often, those under a softmax over
    channels not at all, and those that are combined by their positions (`y + y.flip(1)`) not joined by fresh ones.
    """
    generator = torch.Generator().manual_seed(seed)
    edits = {name: _wider(name, table.group(name), size, new, generator) for name, size in sizes.items()}
    wider = operate(module, table, edits, **more)
    if new == "fresh":
        _randomise(wider, table, edits, generator)
    return wider


def doubled(group: Group) -> Edit:
    """Every channel twice, read by halves: enough for a trial, but such twins would never part."""
    source = torch.arange(group.size).repeat_interleave(2)
    return Edit(source, lambda axis, weight: weight.repeat_interleave(2, -1) / 2)


def _wider(name: str, group: Group, size: int, new: str, generator: torch.Generator) -> Edit:
    extra = size - group.size
    if extra < 0:
        raise ValueError(f"group '{name}' has {group.size} channels already, and {size} are asked for.")
    if extra and not group.copyable:
        raise ValueError(f"channels of group '{name}' cannot be copied: doubled for trial, the model did not hold.")
    if extra and new == "fresh" and group.separable and not group.extendable:
        raise ValueError(
            f"channels of group '{name}' can only be copied: with new ones that nothing reads the outputs would "
            "change, because the network combines channels by their positions."
        )
    if extra and not group.separable and (extra % group.size or new == "fresh"):
        raise ValueError(f"channels of group '{name}' are normalised together: they can only be copied, all equally.")
    if new == "fresh":
        source = torch.arange(size).clamp_max(group.size - 1)
        share = (torch.arange(size) < group.size).float()
        return Edit(source, lambda axis, weight: nn.functional.pad(weight, (0, extra)), share)
    return copies(group, extra, generator)


def copies(group: Group, extra: int, generator: torch.Generator) -> Edit:
    """So many copies of channels chosen at random, all about equally often, with weights split at random."""
    each, rest = divmod(group.size + extra, group.size)
    counts = torch.full((group.size,), each)
    counts[torch.randperm(group.size, generator=generator)[:rest]] += 1
    seed = int(torch.randint(2**31, (), generator=generator))
    source = torch.arange(len(counts)).repeat_interleave(counts)
    return Edit(source, _split(counts, seed), 1 / counts[source])


def _split(counts: Tensor, seed: int) -> Reader:
    """Weights (..., size) in parts for the copies (..., sum of counts) that add up to them, random for each weight."""
    source = torch.arange(len(counts)).repeat_interleave(counts)
    copied = (counts > 1)[source]

    def read(axis: Axis, weight: Tensor) -> Tensor:
        own = torch.Generator().manual_seed(seed + zlib.crc32(f"{axis[0]}/{axis[1]}".encode()))
        noise = torch.randn((*weight.shape[:-1], len(source)), generator=own, dtype=torch.float64)
        mean = torch.zeros(weight.shape, dtype=noise.dtype).index_add(-1, source, noise) / counts
        parts = torch.where(copied, 1 + _SPREAD * (noise - mean[..., source]), 1.0) / counts[source]
        return (weight[..., source.to(weight.device)].double() * parts.to(weight.device)).to(weight)

    return read


def _randomise(wider: nn.Module, table: Table, edits: Mapping[str, Edit], generator: torch.Generator) -> None:
    """What makes the new channels gets random weights with the deviation of those that make the old ones."""
    tensors = named_tensors(wider)
    for axis, layout in layouts(table, edits).items():
        name, dim = axis
        numbers = table.axes[axis][layout.sources]
        for group in edits:
            own = table.groups[group]
            inside = own.holds(numbers)
            if axis not in own.producers:
                continue
            fresh, old = (
                (inside & part).nonzero()[:, 0].to(tensors[name].device)
                for part in (layout.copies >= own.size, layout.copies < own.size)
            )
            weight = tensors[name].data
            deviation = weight.index_select(dim, old).std(correction=0)
            drawn = torch.randn(weight.index_select(dim, fresh).shape, generator=generator)
            weight.index_copy_(dim, fresh, drawn.to(weight) * deviation)
