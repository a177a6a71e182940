"""Magnitude pruning."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from torch import Tensor, nn

from shoestring.channels import Table
from shoestring.pruning.scoring import magnitudes


def magnitude(
    model: nn.Module, batches: Iterable[Tensor], table: Table, *, norm: Literal["l1", "l2"] = "l2"
) -> dict[str, Tensor]:
    """Prune channels with small filters (Li et al. 2017), weighted by the norm of the weights that read the channel.

    Norms are relative to the mean of their layer, and summed over all layers that produce, or consume, the channel.
    Returns float (size,) for each group of the table. `batches` is not used.
    """
    return table.split(magnitudes(model, table, norm))
