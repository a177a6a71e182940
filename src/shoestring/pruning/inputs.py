"""Inputs of pruning: calibration images of the right shape, and an example to trace a network with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from shoestring.errors import UserError
from shoestring.models import Model, Preprocessing


@contextmanager
def as_user_errors() -> Iterator[None]:
    """Turn the `ValueError` of a network that fails into a `UserError` of one line."""
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from error


def check_batches(batches: Iterable[Tensor], size: Preprocessing) -> list[Tensor]:
    """Return batches as a list. Raises `UserError` unless they are images of the network's size."""
    batches = list(batches)
    for batch in batches:
        if batch.ndim != 4 or batch.shape[1:] != (size.channels, size.resolution, size.resolution):
            raise UserError(
                f"calibration images have the shape {tuple(batch.shape)}, but the network takes (N, {size.channels}, "
                f"{size.resolution}, {size.resolution}): convert them with Model.prepare."
            )
    return [batch for batch in batches if len(batch)]


def example_image(model: Model) -> Tensor:
    """Return an image of noise on the network's device: a blank one would hide what an operation does."""
    size = model.preprocessing
    shape = (1, size.channels, size.resolution, size.resolution)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return noise.to(next(model.module.parameters()).device)
