"""Channels are cut, and what reads them makes up for it as well as it can."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor

from shoestring.channels.readers import visit
from shoestring.channels.surgery import Edit, Network, operate
from shoestring.channels.table import Kept, Table, places
from shoestring.channels.tracer import Axis

_ROWS = 4096  # positions of a batch that are looked at
_RIDGE = 1e-4  # of the mean energy of a channel: keeps dead channels from blowing up


def compensate(module: Network, table: Table, kept: Kept, batches: Iterable[Tensor], **more: Any) -> Network:
    """`drop`, with the weights of every reading layer set anew by least squares on calibration images.

    The channels h of a group are foretold from those that stay, h ~ A h_S with A = E[h h_S'] E[h_S h_S']^-1 over
    `batches` (N, C, H, W), and readers get their weights times A (as in ThiNet, Luo et al. 2017, and Optimal Brain
    Compression, Frantar & Alistarh 2022, for whole channels). Nothing is trained; labels are not needed. Layers that
    read channels in separate groups only lose them. Further arguments are those of `operate`.
    """
    energy: dict[Axis, Tensor] = {}
    touched = {name: table.groups[name] for name, own in kept.items() if len(own) < table.groups[name].size}

    def note(axis: Axis, values: Tensor) -> None:
        rows = values[torch.randperm(len(values), generator=generator)[:_ROWS].to(values.device)].double()
        energy[axis] = energy.get(axis, 0) + rows.T @ rows

    generator = torch.Generator().manual_seed(0)
    visit(module, table, batches, note)
    edits = {}
    for name, group in table.groups.items():
        if name in touched:
            matrices = {}
            for axis in group.consumers:
                where = places(table, axis, group)
                if axis in energy and where is not None:
                    gram = torch.stack([energy[axis][own][:, own] for own in where.T]).sum(0)
                    matrices[axis] = _least_squares(gram, kept[name])
            edits[name] = Edit(kept[name], _reader(kept[name], matrices))
        elif name in kept:
            edits[name] = Edit(kept[name])
    return operate(module, table, edits, **more)


def _least_squares(gram: Tensor, stay: Tensor) -> Tensor:
    """A (size, k) that foretells all channels from those that stay, from E[h h'] (size, size)."""
    stay = stay.to(gram.device)
    inner = gram[stay][:, stay]
    ridge = _RIDGE * inner.diagonal().mean().clamp_min(1e-30)
    inner = inner + ridge * torch.eye(len(stay), device=gram.device, dtype=gram.dtype)
    return torch.linalg.solve(inner, gram[stay]).T


def _reader(stay: Tensor, matrices: dict[Axis, Tensor]):
    def read(axis: Axis, weight: Tensor) -> Tensor:
        if axis not in matrices:
            return weight[..., stay.to(weight.device)]
        return (weight.double() @ matrices[axis].to(weight.device)).to(weight)

    return read
