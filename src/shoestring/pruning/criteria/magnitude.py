"""Channels with small weights are cut."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import torch
from torch import Tensor, nn

from shoestring.channels import Axis, Table


def magnitude(
    model: nn.Module, batches: Iterable[Tensor], table: Table, *, norm: Literal["l1", "l2"] = "l2"
) -> dict[str, Tensor]:
    """Cut channels with small filters (Li et al. 2017), here times the size of the weights that read the channel.

    Norms are compared with the mean of their layer and summed over all layers that make, or read, the channel: float
    (size,) for each group of the table. Looks at weights only, so `batches` is left alone.
    """
    makers = [axis for group in table.groups.values() for axis in group.producers]
    readers = [axis for group in table.groups.values() for axis in group.consumers]
    made, read = (_norms(model, table, axes, norm) for axes in (makers, readers))
    return table.split(made * read)


def _norms(model: nn.Module, table: Table, axes: Iterable[Axis], norm: str) -> Tensor:
    """For every channel of the table (size,), the sum of the norms of its slices of weights along these axes."""
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    totals = torch.zeros(table.size)
    for name, dim in dict.fromkeys(axes):
        slices = tensors[name].detach().transpose(0, dim).flatten(1).float().cpu()
        norms = slices.norm(p=1 if norm == "l1" else 2, dim=1)
        if not tensors[name].requires_grad:  # the size of fixed weights, such as whitening filters, says nothing
            norms = torch.ones_like(norms)
        numbers = table.axes[name, dim]
        totals.index_add_(0, numbers[numbers >= 0], (norms / norms.mean().clamp_min(1e-30))[numbers >= 0])
    return totals
