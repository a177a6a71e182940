"""A prediction as one module: from images as they come to class probabilities."""

from __future__ import annotations

import copy
import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from shoestring.exporting.squares import is_square, to_squares
from shoestring.models.head_modules import class_scores
from shoestring.models.model import Model
from shoestring.models.tta import SHIFTS, is_ambiguous, shifted, tta_modes
from shoestring.tasks import MULTI_LABEL


class Pipeline(nn.Module):
    """What `Model.predict_proba` computes of an array of images, in operations that can be exported.

    It maps uint8 images (N, H, W, C) of any size to probabilities (N, classes): crop or padding, resizing,
    normalization, test-time augmentation `tta` ("none", "flip" or "crops"), temperature and softmax, or a sigmoid where
    images may have several labels. The network computes in `dtype`, the rest in float32. The network is copied.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: Model, *, tta: str, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        size = model.preprocessing
        assert tta in tta_modes(size), "a mode that the model allows"
        self.network = copy.deepcopy(model.module).to("cpu", dtype).eval()
        self.size, self.tta, self.temperature, self.dtype = size, tta, model.temperature, dtype
        self.task = model.task
        self.register_buffer("mean", torch.tensor(size.mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(size.std).view(1, -1, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Return probabilities (N, classes) of images, uint8 (N, H, W, C)."""
        pixels = images.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
        fits = is_square(pixels, self.size.resolution)
        squares = torch.cond(fits, self._unchanged, self._resized, (pixels,))
        batch = (squares / 255 - self.mean) / self.std
        mean = self._mean_log_probabilities([batch])
        if self.tta == "crops":
            mean = self._with_shifted(batch, mean)
        probabilities = (mean / self.temperature).softmax(1)
        return probabilities[:, 1] if self.task == MULTI_LABEL else probabilities

    def _unchanged(self, squares: Tensor) -> Tensor:
        return functional.interpolate(squares, size=(self.size.resolution,) * 2)  # a copy, whose size is not symbolic

    def _resized(self, pixels: Tensor) -> Tensor:
        return to_squares(pixels, self.size.resolution, self.size.fit)

    def _mean_log_probabilities(self, versions: list[Tensor]) -> Tensor:
        """Return the log of the mean probability (N, classes) over versions (N, C, R, R), and their mirror images."""
        if self.tta != "none" and self.size.mirror:
            versions = [version for batch in versions for version in (batch, batch.flip(3))]
        logits = class_scores(self.network(torch.cat(versions).to(self.dtype))).float()
        rows = self.task.logits(logits).log_softmax(1).unflatten(0, (len(versions), -1))
        return rows.logsumexp(0) - math.log(len(versions))

    def _with_shifted(self, batch: Tensor, mean: Tensor) -> Tensor:
        """Include shifted versions of the images whose mean so far is ambiguous, if there are any."""
        return torch.cond(is_ambiguous(mean).any(), self._include_shifted, _unchanged, (batch, mean))

    def _include_shifted(self, batch: Tensor, mean: Tensor) -> Tensor:
        indices = is_ambiguous(mean).nonzero()[:, 0]
        torch._check(indices.shape[0] >= 1)  # so that the network is exported without a branch for no images
        copies = self._mean_log_probabilities(shifted(batch[indices], self.size.shift))
        total = torch.logaddexp(mean[indices], copies + math.log(SHIFTS)) - math.log(1 + SHIFTS)
        return mean.index_put((indices,), total)


def _unchanged(batch: Tensor, mean: Tensor) -> Tensor:
    return mean.clone()
