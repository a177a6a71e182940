"""Dropping channels with least-squares compensation in the layers that consume them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from shoestring.channels.copying import Network
from shoestring.channels.edits import Edit, WeightTransform
from shoestring.channels.grams import Grams, input_grams
from shoestring.channels.surgery import SurgeryOptions, apply_edits
from shoestring.channels.table import Axis, Kept, Table

if TYPE_CHECKING:
    from typing_extensions import Unpack

_RIDGE = 1e-4  # relative to the mean energy of a channel: keeps dead channels from blowing up


def compensate(
    module: Network, table: Table, kept: Kept, batches: Iterable[Tensor], **options: Unpack[SurgeryOptions]
) -> Network:
    """Drop channels, and refit the weights of all consuming layers by least squares on calibration images.

    The channels h of a group are predicted from the kept ones, h ~ A h_S with A = E[h h_S'] E[h_S h_S']^-1 over
    `batches` (N, C, H, W), and the weights of consumers are multiplied by A (as in ThiNet, Luo et al. 2017, and Optimal
    Brain Compression, Frantar & Alistarh 2022, for whole channels). No training and no labels are needed. Convolutions
    with groups are not refitted. `options` and errors are those of `drop`.
    """
    table.validate(module, kept)
    return compensate_with(module, table, kept, input_grams(module, table, batches, groups=kept), **options)


def compensate_with(
    module: Network, table: Table, kept: Kept, grams: Grams, **options: Unpack[SurgeryOptions]
) -> Network:
    """Do the same with the second moments of the channels, which may be those of more groups."""
    edits = {}
    for name, own in kept.items():
        source = own.sort().values
        if len(source) == table.groups[name].size:  # nothing is dropped
            continue
        matrices = {axis: _least_squares(gram, source) for (axis, group), gram in grams.items() if group == name}
        edits[name] = Edit(source, _multiply(source, matrices))
    return apply_edits(module, table, edits, **options)


def _least_squares(gram: Tensor, source: Tensor) -> Tensor:
    """Return A (size, k), which predicts all channels from the kept ones, from E[h h'] (size, size)."""
    source = source.to(gram.device)
    inner = gram[source][:, source]
    ridge = _RIDGE * inner.diagonal().mean().clamp_min(1e-30)
    inner = inner + ridge * torch.eye(len(source), device=gram.device, dtype=gram.dtype)
    return torch.linalg.solve(inner, gram[source]).T


def _multiply(source: Tensor, matrices: Mapping[Axis, Tensor]) -> WeightTransform:
    def transform(axis: Axis, weight: Tensor) -> Tensor:
        if axis not in matrices:
            return weight[..., source.to(weight.device)]
        return (weight.double() @ matrices[axis].to(weight.device)).to(weight)

    return transform
