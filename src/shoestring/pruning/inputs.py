"""Inputs of pruning: calibration images of the right shape, and an example to trace a network with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
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
    """Return batches as a list. Raises `UserError` unless they are images of the network's size, of finite numbers."""
    batches = list(batches)
    for batch in batches:
        if batch.ndim != 4 or batch.shape[1:] != (size.channels, size.resolution, size.resolution):
            raise UserError(
                f"calibration images have the shape {tuple(batch.shape)}, but the network takes (N, {size.channels}, "
                f"{size.resolution}, {size.resolution}): convert them with Model.prepare."
            )
        if not batch.is_floating_point():
            raise UserError(f"calibration images are {batch.dtype}, not float: convert them with Model.prepare.")
        if not batch.isfinite().all():
            raise UserError("calibration images contain NaN or infinite numbers: leave these images out.")
    return [batch for batch in batches if len(batch)]


def check_labels(labels: Sequence[Tensor] | None, batches: Sequence[Tensor], classes: int) -> None:
    """Raise `UserError` unless there is a class number for each image of each batch, or there are no labels."""
    if labels is None:
        return
    if [tuple(one.shape) for one in labels] != [(len(batch),) for batch in batches]:
        raise UserError("labels must be one tensor for each batch, with the number of a class for each of its images.")
    if any(len(one) and not 0 <= int(one.min()) <= int(one.max()) < classes for one in labels):
        raise UserError(f"labels must be numbers from 0 to {classes - 1}, as the network has {classes} classes.")


def example_image(model: Model) -> Tensor:
    """Return an image of noise on the network's device: a blank one would hide what an operation does."""
    size = model.preprocessing
    shape = (1, size.channels, size.resolution, size.resolution)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return noise.to(next(model.module.parameters()).device)
