"""Chance, the control that every criterion must beat."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from shoestring.channels import Table


def random(model: nn.Module, batches: Iterable[Tensor], table: Table, *, seed: int = 0) -> dict[str, Tensor]:
    """Cut channels by chance: the control that every criterion must beat.

    Gives uniform numbers in 0..1, float (size,) for each group of the table; `model` and `batches` are left alone.
    """
    return table.split(torch.rand(table.size, generator=torch.Generator().manual_seed(seed)))
