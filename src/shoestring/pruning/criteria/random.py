"""Random pruning, the baseline for every criterion."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from shoestring.channels import Table


def random(model: nn.Module, batches: Iterable[Tensor], table: Table, *, seed: int = 0) -> dict[str, Tensor]:
    """Prune random channels: the baseline that every criterion must beat.

    Returns uniform scores in 0..1, float (size,) for each group of the table; `model` and `batches` are not used.
    """
    return table.split(torch.rand(table.size, generator=torch.Generator().manual_seed(seed)))
