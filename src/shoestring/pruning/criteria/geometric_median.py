"""Pruning of filters near the geometric median of their layer."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from shoestring.channels import Table
from shoestring.channels.table import channel_rows, named_tensors
from shoestring.pruning.scoring import completed


def geometric_median(model: nn.Module, batches: Iterable[Tensor], table: Table) -> dict[str, Tensor]:
    """Prune filters near the geometric median of their layer, which the others can replace (FPGM, He et al. 2019).

    The score is the sum of the Euclidean distances from a filter to all others of its layer. For channels that several
    layers produce, it is summed over these layers, relative to the mean of each. Returns float (size,) for each group
    of the table. `batches` is not used.
    """
    tensors, scores = named_tensors(model), {}
    for name, group in table.groups.items():
        totals = torch.zeros(group.size, dtype=torch.float64)
        for axis in group.producers:
            filters = channel_rows(tensors[axis[0]], table, axis, group)
            if filters is not None and tensors[axis[0]].requires_grad:
                distances = torch.cdist(filters, filters).sum(1)
                totals += distances / distances.mean().clamp_min(1e-30)
        if totals.any():
            scores[name] = totals.float()
    return completed(scores, model, table)
