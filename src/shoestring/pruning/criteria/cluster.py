"""Pruning of filters that are similar to another one of their layer."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shoestring.channels import Table
from shoestring.channels.table import channel_rows, named_tensors
from shoestring.pruning.scoring import completed


def cluster(model: nn.Module, batches: Iterable[Tensor], table: Table) -> dict[str, Tensor]:
    """Prune filters that are similar to another one, and keep one of each cluster (hierarchical, Ward 1963).

    Two clusters are merged after the other. Of their two representatives the one that is nearer to the mean of both
    stays; the other one gets the height of the merge as its score. So for any number of channels, those that are kept
    represent as many clusters. For channels that several layers produce, their filters are joined, each relative to the
    mean norm in its layer. Returns float (size,) for each group of the table. `batches` is not used.
    """
    tensors, scores = named_tensors(model), {}
    for name, group in table.groups.items():
        parts = []
        for axis in group.producers:
            filters = channel_rows(tensors[axis[0]], table, axis, group)
            if filters is not None and tensors[axis[0]].requires_grad:
                parts.append(filters / filters.norm(dim=1).mean().clamp_min(1e-30))
        if parts and group.size > 1:
            scores[name] = torch.from_numpy(_merge_heights(torch.cat(parts, 1).numpy())).float()
    return completed(scores, model, table)


def _merge_heights(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the height at which each row (N, D) stops to represent its cluster, (N,); the last one is the highest."""
    from scipy.cluster.hierarchy import linkage

    heights = np.zeros(len(rows))
    clusters = [(index, row, 1) for index, row in enumerate(rows)]  # representative, mean, size
    merges = linkage(rows, "ward")
    for first, second, height, _ in merges:
        (one, mean, count), (other, other_mean, other_count) = clusters[int(first)], clusters[int(second)]
        middle = (count * mean + other_count * other_mean) / (count + other_count)
        nearer = np.linalg.norm(rows[one] - middle) <= np.linalg.norm(rows[other] - middle)
        stays, goes = (one, other) if nearer else (other, one)
        heights[goes] = height
        clusters.append((stays, middle, count + other_count))
    heights[clusters[-1][0]] = 2 * merges[-1, 2] + 1e-12
    return heights
