"""Test-time augmentation (TTA): predictions averaged over an image, its mirror image, and shifted copies.

The modes, by their names in a recipe: "none" is the image alone, "flip" adds its mirror image, and "crops" also adds
both shifted along the diagonal, in both directions, where the prediction so far is ambiguous: those few images gain by
it, the others would not change.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from shoestring.models.head_modules import class_scores
from shoestring.models.preprocessing import Preprocessing
from shoestring.tasks import SINGLE_LABEL, Task

SHIFTS = 2  # shifted copies of an ambiguous image: both directions of the diagonal
AMBIGUOUS_FRACTION = 0.2  # expected fraction of ambiguous images, for a network after a minute (0.1 after five)
_AMBIGUOUS_MARGIN = 0.15  # between the first and the second class, below which a prediction is ambiguous


def tta_modes(preprocessing: Preprocessing) -> list[str]:
    """Return the TTA modes that a model's preprocessing allows, the most expensive first."""
    allowed = {"crops": preprocessing.shift > 0, "flip": preprocessing.mirror, "none": True}
    return [mode for mode, possible in allowed.items() if possible]


def expected_passes(preprocessing: Preprocessing) -> float:
    """Return the expected number of forward passes per prediction with the model's full TTA."""
    return passes_per_prediction(preprocessing, tta_modes(preprocessing)[0], AMBIGUOUS_FRACTION)


def passes_per_prediction(preprocessing: Preprocessing, mode: str, ambiguous: float) -> float:
    """Return the mean number of forward passes per prediction if this fraction of the images is ambiguous."""
    flips = 1 + (preprocessing.mirror and mode != "none")
    return flips * (1 + ambiguous * SHIFTS * (mode == "crops"))


def mean_log_probabilities(module: nn.Module, batches: list[Tensor], mirror: bool, task: Task = SINGLE_LABEL) -> Tensor:
    """Return the log of the mean probability over versions (B, C, H, W) of the same images.

    The probabilities are those of all alternatives, (B, classes) or (B, 2, classes), as `shoestring.tasks` says. With
    `mirror`, the mean is over the mirror images of all of them as well.
    """

    def log_probabilities(batch: Tensor) -> Tensor:
        return task.logits(class_scores(module(batch)).float()).log_softmax(1)

    if mirror:
        batches = [version for batch in batches for version in (batch, batch.flip(-1))]
    total = log_probabilities(batches[0])
    for batch in batches[1:]:
        total = torch.logaddexp(total, log_probabilities(batch))
    return total - math.log(len(batches))


def is_ambiguous(log_probabilities: Tensor) -> Tensor:
    """Return for each image whether the two most probable alternatives are close (N,), of any choice if it has several.

    Axis 1 holds the alternatives; never with a single one.
    """
    if log_probabilities.shape[1] < 2:
        return torch.zeros(len(log_probabilities), dtype=torch.bool, device=log_probabilities.device)
    first, second = log_probabilities.topk(2, dim=1).values.exp().unbind(1)
    close = first - second < _AMBIGUOUS_MARGIN
    return close if close.ndim == 1 else close.any(1)


def shifted(batch: Tensor, shift: int) -> list[Tensor]:
    """Return the images (B, C, H, W) shifted along the diagonal in both directions, with reflected edges."""
    padded = functional.pad(batch, [shift] * 4, mode="reflect")
    height, width = batch.shape[2:]
    return [padded[:, :, start : start + height, start : start + width] for start in (0, 2 * shift)]
