"""Magnitude pruning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from shoestring.channels import Axis, Table
from shoestring.channels.table import named_tensors


def magnitude(
    model: nn.Module, batches: Iterable[Tensor], table: Table, *, norm: Literal["l1", "l2"] = "l2"
) -> dict[str, Tensor]:
    """Prune channels with small filters (Li et al. 2017), weighted by the norm of the weights that read the channel.

    Norms are relative to the mean of their layer, and summed over all layers that produce, or consume, the channel.
    Returns float (size,) for each group of the table. `batches` is not used.
    """
    producers = [axis for group in table.groups.values() for axis in group.producers]
    consumers = [axis for group in table.groups.values() for axis in group.consumers]
    filters, readers = (_relative_norms(model, table, axes, norm) for axes in (producers, consumers))
    return table.split(filters * readers)


def _relative_norms(model: nn.Module, table: Table, axes: Iterable[Axis], norm: str) -> Tensor:
    """Return for every channel of the table (size,) the sum of the relative norms of its slices along these axes."""
    tensors = named_tensors(model)
    totals = torch.zeros(table.size)
    for name, dim in dict.fromkeys(axes):
        slices = tensors[name].detach().transpose(0, dim).flatten(1).float().cpu()
        norms = slices.norm(p=1 if norm == "l1" else 2, dim=1)
        if not tensors[name].requires_grad:  # norms of fixed weights, such as whitening filters, are not informative
            norms = torch.ones_like(norms)
        ids = table.axes[name, dim]
        totals.index_add_(0, ids[ids >= 0], (norms / norms.mean().clamp_min(1e-30))[ids >= 0])
    return totals
