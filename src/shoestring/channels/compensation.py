"""Channels are cut, and what reads them makes up for it as well as it can."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from shoestring.channels.readers import visit
from shoestring.channels.surgery import Edit, Network, Reader, operate
from shoestring.channels.table import Kept, Table, where
from shoestring.channels.tracer import Axis

_ROWS = 4096  # positions of a batch that are looked at
_RIDGE = 1e-4  # of the mean energy of a channel: keeps dead channels from blowing up


def compensate(module: Network, table: Table, kept: Kept, batches: Iterable[Tensor], **more: Any) -> Network:
    """`drop`, with the weights of every reading layer set anew by least squares on calibration images.

    The channels h of a group are foretold from those that stay, h ~ A h_S with A = E[h h_S'] E[h_S h_S']^-1 over
    `batches` (N, C, H, W), and readers get their weights times A (as in ThiNet, Luo et al. 2017, and Optimal Brain
    Compression, Frantar & Alistarh 2022, for whole channels). Nothing is trained; labels are not needed. Layers that
    read channels in separate groups only lose them. Further arguments and errors are those of `drop`.
    """
    table.check(module, kept)
    places = {
        axis: {name: where(table, axis, table.groups[name]) for name in kept if axis in table.groups[name].consumers}
        for axis in table.readers & table.axes.keys()
    }
    energy: dict[tuple[Axis, str], Tensor] = {}
    draw = np.random.default_rng(0)

    def note(axis: Axis, values: Tensor) -> None:
        # drawn at random: every so many could all lie in one column of the images
        some = draw.choice(len(values), min(_ROWS, len(values)), replace=False)
        rows = values[torch.from_numpy(some).to(values.device)].double()
        for name, own in places[axis].items():
            channels = rows[:, own].transpose(1, 2).flatten(0, 1)  # (rows x places, size)
            energy[axis, name] = energy.get((axis, name), torch.zeros(())) + channels.T @ channels

    visit(module, table, batches, note)
    edits = {}
    for name, indices in kept.items():
        stay = indices.sort().values
        if len(stay) == table.groups[name].size:  # nothing to make up for
            continue
        matrices = {axis: _least_squares(gram, stay) for (axis, group), gram in energy.items() if group == name}
        edits[name] = Edit(stay, _reader(stay, matrices))
    return operate(module, table, edits, **more)


def _least_squares(gram: Tensor, stay: Tensor) -> Tensor:
    """A (size, k) that foretells all channels from those that stay, from E[h h'] (size, size)."""
    stay = stay.to(gram.device)
    inner = gram[stay][:, stay]
    ridge = _RIDGE * inner.diagonal().mean().clamp_min(1e-30)
    inner = inner + ridge * torch.eye(len(stay), device=gram.device, dtype=gram.dtype)
    return torch.linalg.solve(inner, gram[stay]).T


def _reader(stay: Tensor, matrices: Mapping[Axis, Tensor]) -> Reader:
    def read(axis: Axis, weight: Tensor) -> Tensor:
        if axis not in matrices:
            return weight[..., stay.to(weight.device)]
        return (weight.double() @ matrices[axis].to(weight.device)).to(weight)

    return read
