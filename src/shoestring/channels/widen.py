"""More channels that change nothing at first: the inverse of pruning, for networks that grow."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn

from shoestring.channels.surgery import Edit, Network, Reader, layouts, operate
from shoestring.channels.table import Group, Table
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

    Raises `ValueError` for unknown groups, for fewer channels than there are, and where the function cannot be kept:
    channels under a normalisation over channels can only be copied all equally often.
    """
    generator = torch.Generator().manual_seed(seed)
    edits: dict[str, Edit] = {}
    for name, size in sizes.items():
        if name not in table.groups:
            raise ValueError(f"no group '{name}': the groups are {', '.join(table.groups) or 'none'}.")
        edits[name] = _wider(name, table.groups[name], size, new, generator)
    wider = operate(module, table, edits, **more)
    if new == "fresh":
        _randomise(wider, table, edits, generator)
    return wider


def _wider(name: str, group: Group, size: int, new: str, generator: torch.Generator) -> Edit:
    extra = size - group.size
    if extra < 0:
        raise ValueError(f"group '{name}' has {group.size} channels already, and {size} are asked for.")
    if not group.separable and extra and (extra % group.size or new == "fresh"):
        raise ValueError(f"channels of group '{name}' are normalised together: they can only be copied, all equally.")
    counts = torch.ones(group.size, dtype=torch.int64)
    if new == "copies":
        counts += extra // group.size
        counts[torch.randperm(group.size, generator=generator)[: extra % group.size]] += 1
        read = _split(counts, int(torch.randint(2**31, (), generator=generator)))
    else:
        counts[-1] += extra
        read = _unread(extra)
    return Edit(torch.arange(group.size).repeat_interleave(counts), read)


def _split(counts: Tensor, seed: int) -> Reader:
    """Weights (..., size) in parts for the copies (..., sum of counts) that add up to them, random for each weight."""
    source = torch.arange(len(counts)).repeat_interleave(counts)
    copied = (counts > 1)[source]

    def read(axis: Axis, weight: Tensor) -> Tensor:
        own = torch.Generator().manual_seed(seed + zlib.crc32(f"{axis[0]}/{axis[1]}".encode()))
        noise = torch.randn((*weight.shape[:-1], len(source)), generator=own)
        mean = torch.zeros(weight.shape).index_add(-1, source, noise) / counts
        parts = torch.where(copied, 1 + _SPREAD * (noise - mean[..., source]), 1.0) / counts[source]
        return weight[..., source.to(weight.device)] * parts.to(weight)

    return read


def _unread(extra: int) -> Reader:
    return lambda axis, weight: nn.functional.pad(weight, (0, extra))


def _randomise(wider: nn.Module, table: Table, edits: Mapping[str, Edit], generator: torch.Generator) -> None:
    """What makes the new channels gets random weights with the deviation of those that make the old ones."""
    tensors = dict(wider.named_parameters())
    for axis, layout in layouts(table, edits).items():
        name, dim = axis
        for group in edits:
            own = table.groups[group]
            if axis not in own.producers:
                continue
            numbers = table.axes[axis][layout.places]
            inside = (numbers >= own.start) & (numbers < own.start + own.size)
            fresh = (inside & (layout.copies >= own.size)).nonzero()[:, 0]
            old = (inside & (layout.copies < own.size)).nonzero()[:, 0]
            weight = tensors[name].data
            deviation = weight.index_select(dim, old.to(weight.device)).std()
            drawn = torch.randn(weight.index_select(dim, fresh.to(weight.device)).shape, generator=generator)
            weight.index_copy_(dim, fresh.to(weight.device), drawn.to(weight) * deviation)
