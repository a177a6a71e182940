"""Images that count more or less than others."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional

from shoestring.data.augment import Augment
from shoestring.data.batches import Batches
from shoestring.tasks import SINGLE_LABEL


def _batches(images, weights, **augment) -> Batches:
    def prepare(pixels, resolution=None):
        return pixels.permute(0, 3, 1, 2).float()

    return Batches(images.weighted(weights), prepare, size=12, augment=Augment(**augment), seed=5)


def _loss(batches: Batches, logits: torch.Tensor, labels: torch.Tensor, smoothing: float) -> torch.Tensor:
    return SINGLE_LABEL.loss(logits, labels, smoothing=smoothing, weighted=batches.weights is not None)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_the_weighted_mean(images, smoothing):
    weights = np.linspace(0, 2, len(images), dtype=np.float32)
    batches, plain = _batches(images, weights), _batches(images, None)
    batch, unweighted = batches.draw(), plain.draw()
    logits = torch.randn(12, 3, generator=torch.Generator().manual_seed(0))
    each = functional.cross_entropy(logits, unweighted.labels, label_smoothing=smoothing, reduction="none")
    expected = (each * torch.from_numpy(weights)[batch.index]).mean()
    assert torch.equal(batch.index, unweighted.index) and torch.equal(batch.images, unweighted.images)
    assert _loss(batches, logits, batch.labels, smoothing).item() == pytest.approx(expected.item(), rel=1e-5)
    assert _loss(plain, logits, unweighted.labels, smoothing).item() == pytest.approx(each.mean().item(), rel=1e-6)


def test_mixed_images_are_mixed_by_weight(images):
    weights = np.where(images.targets == 0, 3.0, 0.5).astype(np.float32)
    labels = _batches(images, weights, mixup=0.8).draw().labels
    shares = _batches(images, np.ones(len(images), np.float32), mixup=0.8).draw().labels
    by_class = torch.tensor([3.0, 0.5, 0.5])
    assert torch.allclose(labels, shares * by_class, atol=1e-6)


def test_weights_follow_their_images(images):
    weights = np.arange(len(images), dtype=np.float32)
    chosen = images.weighted(weights)[[5, 3]]
    assert chosen.weights is not None and chosen.weights.tolist() == [5, 3]
    again = images[[7, 9]].weighted(np.array([2, 4], np.float32))
    assert again.weights is not None and again.weights.tolist() == [2, 4]
    assert images.weights is None and chosen.weighted(None).weights is None
