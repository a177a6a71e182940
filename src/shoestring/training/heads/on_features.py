"""Training of a head by gradient, on the features of a frozen network."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional

from shoestring.config.plan import TRAINING_FLOPS_PER_MAC
from shoestring.models.head_modules import Head, MLPHead
from shoestring.tasks import task_of
from shoestring.training.optimizer import CombinedOptimizer
from shoestring.training.optimizers.adamw import AdamW

_BATCH = 64
_MEASURED = 4096  # images
_EPOCHS, _MIN_STEPS, _MAX_STEPS = 30, 300, 3000
_RATE, _DECAY, _WARM_UP = 1e-3, 0.02, 0.1  # of AdamW


def training_flops(head: Head, count: int) -> float:
    """Return the FLOPs of `train_on_features` with so many images, without a limit of its time."""
    size = min(_BATCH, count)
    return TRAINING_FLOPS_PER_MAC * _steps(count) * size * sum(weight.numel() for weight in head.parameters())


def _steps(count: int) -> int:
    return min(max(_EPOCHS * count // _BATCH, _MIN_STEPS), _MAX_STEPS)


@torch.no_grad()
def train_on_features(
    head: Head,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    sample_weight: NDArray[np.float32] | None = None,
    seed: int = 0,
    seconds: float | None = None,
) -> None:
    """Train a head on features (N, D) with labels (N,), or 0 and 1 (N, classes), in place.

    AdamW takes a fixed number of steps, fewer if they would take more than `seconds`: the learning rate decays to zero
    either way. `sample_weight`, of the shape of the labels, weights the images in the loss.
    """
    task = task_of(labels)
    device, (center, length) = next(head.parameters()).device, _standard(head, features)
    optimizer = CombinedOptimizer([AdamW(_groups(head), lr=_RATE)], name="adamw", warm_up=_WARM_UP)
    weights = torch.ones(labels.shape) if sample_weight is None else torch.from_numpy(np.array(sample_weight))
    targets, rng = torch.from_numpy(np.array(labels)), np.random.default_rng(seed)
    size, start, order = min(_BATCH, len(labels)), time.monotonic(), np.arange(0)
    steps, done, fraction = _steps(len(labels)), 0, 0.0
    training = head.training
    head.train()
    with torch.enable_grad(), torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(seed)  # of the dropout
        while fraction < 1:
            if len(order) < size:
                order = rng.permutation(len(labels))
            rows, order = order[:size], order[size:]
            batch = torch.from_numpy((features[rows] - center) / length)
            logits = task.logits(head(batch.to(device)))
            losses = functional.cross_entropy(logits, targets[rows].to(device), reduction="none")
            (losses * weights[rows].to(device)).mean().backward()
            optimizer.step(optimizer.factor(fraction))
            done += 1
            spent = 0.0 if seconds is None else (time.monotonic() - start) / max(seconds, 1e-9)
            fraction = max(done / steps, spent)
    if isinstance(head, MLPHead):
        first = head.hidden[0]
        assert isinstance(first, nn.Linear)
        first.weight.div_(float(length))
        first.bias.sub_(first.weight @ torch.from_numpy(center).to(device))
    head.train(training)


def _standard(head: Head, features: NDArray[np.float32]) -> tuple[NDArray[np.float32], np.float32]:
    """Return mean (D,) and root mean square of the features, by which an MLP trains alike on any features.

    Other heads normalize features themselves.
    """
    if not isinstance(head, MLPHead):
        return np.zeros(features.shape[1], dtype=np.float32), np.float32(1)
    center = features.mean(0, dtype=np.float32)
    return center, np.float32(np.sqrt(np.mean(np.square(features[:_MEASURED] - center)))) or np.float32(1)


def _groups(head: Head) -> list[dict]:
    weights = list(head.parameters())
    return [
        {"params": [weight for weight in weights if weight.ndim > 1], "weight_decay": _DECAY},
        {"params": [weight for weight in weights if weight.ndim < 2], "weight_decay": 0.0},
    ]
