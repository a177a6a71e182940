"""Adding channels without changing the function: the inverse of pruning, for networks that grow."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Literal

import torch
from torch import Tensor, nn

from shoestring.channels.copying import Network
from shoestring.channels.edits import Edit, WeightTransform, new_layouts
from shoestring.channels.surgery import SurgeryOptions, apply_edits
from shoestring.channels.table import Axis, Group, Table, named_tensors

if TYPE_CHECKING:
    from typing_extensions import Unpack

_NOISE = 0.85  # scale of the random split of a weight: halves are 0.5 with a standard deviation of 0.3


def widen(
    module: Network,
    table: Table,
    sizes: Mapping[str, int],
    *,
    new: Literal["copies", "fresh"] = "copies",
    seed: int = 0,
    **options: Unpack[SurgeryOptions],
) -> Network:
    """Widen each named group to this number of channels, without changing the function of the network.

    With "copies", the new channels are copies of randomly chosen old ones, each copied about equally often, and every
    weight that reads a channel is split at random between its copies: Net2Net (Chen et al. 2016), but with a separate
    split for each weight, because copies that are read with equal weights get the same gradient and remain copies. With
    "fresh", the new channels get random weights with the standard deviation of the old ones, and are read with zero
    weights. `options` are those of `apply_edits`.

    Raises `ValueError` for unknown groups, for fewer channels than there are, and where the function would change:
    channels that are normalized together can only be copied equally often, those under a softmax over channels not at
    all, and where channels are combined by index (`y + y.flip(1)`) no fresh ones can be added.
    """
    generator = torch.Generator().manual_seed(seed)
    edits = {name: _widening(name, table.group(name), size, new, generator) for name, size in sizes.items()}
    wider = apply_edits(module, table, edits, **options)
    if new == "fresh":
        _randomize(wider, table, edits, generator)
    return wider


def duplicate_all(group: Group) -> Edit:
    """Return an edit with two copies of each channel, read with half of the weights; for trials only.

    Such copies would get the same gradient and remain copies.
    """
    source = torch.arange(group.size).repeat_interleave(2)
    return Edit(source, lambda axis, weight: weight.repeat_interleave(2, -1) / 2)


def copy_evenly(group: Group, extra: int, generator: torch.Generator) -> Edit:
    """Return an edit with `extra` copies of random channels, each about equally often, and weights split at random."""
    each, rest = divmod(group.size + extra, group.size)
    counts = torch.full((group.size,), each)
    counts[torch.randperm(group.size, generator=generator)[:rest]] += 1
    seed = int(torch.randint(2**31, (), generator=generator))
    source = torch.arange(len(counts)).repeat_interleave(counts)
    return Edit(source, _random_split(counts, seed), 1 / counts[source])


def _widening(name: str, group: Group, size: int, new: str, generator: torch.Generator) -> Edit:
    extra = size - group.size
    if extra < 0:
        raise ValueError(f"group '{name}' has {group.size} channels already, more than the requested {size}.")
    if extra and not group.copyable:
        raise ValueError(f"channels of group '{name}' cannot be copied: in a trial, copies changed the outputs.")
    if extra and new == "fresh" and group.separable and not group.extendable:
        raise ValueError(
            f"channels of group '{name}' can only be copied: fresh ones would change the outputs, because the network "
            "combines channels by index."
        )
    if extra and not group.separable and (extra % group.size or new == "fresh"):
        raise ValueError(
            f"channels of group '{name}' are normalized together: they can only be copied, all equally often."
        )
    if new == "fresh":
        source = torch.arange(size).clamp_max(group.size - 1)
        gradient_scale = (torch.arange(size) < group.size).float()
        return Edit(source, lambda axis, weight: nn.functional.pad(weight, (0, extra)), gradient_scale)
    return copy_evenly(group, extra, generator)


def _random_split(counts: Tensor, seed: int) -> WeightTransform:
    """Split weights (..., size) at random into parts for the copies (..., sum of counts), which sum to the weights."""
    source = torch.arange(len(counts)).repeat_interleave(counts)
    copied = (counts > 1)[source]

    def transform(axis: Axis, weight: Tensor) -> Tensor:
        own = torch.Generator().manual_seed(seed + zlib.crc32(f"{axis[0]}/{axis[1]}".encode()))
        noise = torch.randn((*weight.shape[:-1], len(source)), generator=own, dtype=torch.float64)
        mean = torch.zeros(weight.shape, dtype=noise.dtype).index_add(-1, source, noise) / counts
        parts = torch.where(copied, 1 + _NOISE * (noise - mean[..., source]), 1.0) / counts[source]
        return (weight[..., source.to(weight.device)].double() * parts.to(weight.device)).to(weight)

    return transform


def _randomize(wider: nn.Module, table: Table, edits: Mapping[str, Edit], generator: torch.Generator) -> None:
    """Give the producers of new channels random weights with the standard deviation of the old ones."""
    tensors = named_tensors(wider)
    for axis, layout in new_layouts(table, edits).items():
        name, dim = axis
        ids = table.axes[axis][layout.sources]
        for group_name in edits:
            group = table.groups[group_name]
            inside = group.contains(ids)
            if axis not in group.producers:
                continue
            fresh, old = (
                (inside & part).nonzero()[:, 0].to(tensors[name].device)
                for part in (layout.copies >= group.size, layout.copies < group.size)
            )
            weight = tensors[name].data
            deviation = weight.index_select(dim, old).std(correction=0)
            values = torch.randn(weight.index_select(dim, fresh).shape, generator=generator)
            weight.index_copy_(dim, fresh, values.to(weight) * deviation)
