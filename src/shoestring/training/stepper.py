"""One training step: forward, backward, update. On CUDA devices it is recorded once as a graph and replayed."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from shoestring.data.batches import Batch
from shoestring.models.frozen_norms import FrozenNorms
from shoestring.models.head_modules import class_scores
from shoestring.models.inference import autocast
from shoestring.models.model import Model
from shoestring.runtime.cuda_graph import Replay
from shoestring.runtime.device import safe_convolutions
from shoestring.training.distillation import Teacher
from shoestring.training.dynamics import feature_norms
from shoestring.training.optimizer import CombinedOptimizer

# Loss scale, so that small gradients do not vanish in float16 (Micikevicius et al. 2018), and its divisor each time
# that training is rolled back: gradients may have overflowed.
_LOSS_SCALE, _LOSS_SCALE_DIVISOR = 1024.0, 16.0

Outputs = tuple[Tensor, Tensor, Tensor | None]


class Stepper:
    """Runs training steps of a model.

    `forward` replaces the forward pass of the module in distributed training (None otherwise). With `norms`, steps also
    return the feature norm of each image. `frozen_norms` are merged into convolutions. Targets include the
    probabilities of a `teacher`. `rollbacks` is how often training was rolled back; each halves the learning rate.
    """

    def __init__(self, model: Model, optimizer: CombinedOptimizer, *, precision: str, device: torch.device) -> None:
        self.model, self.optimizer, self.precision = model, optimizer, precision
        self.forward: Callable[[Tensor], Any] | None = None
        self.norms = False
        self.frozen_norms: FrozenNorms | None = None
        self.teacher: Teacher | None = None
        self.rollbacks = 0
        self._smoothing, self._weight, self._weighted = 0.0, 1.0, False
        stepper = weakref.proxy(self)  # a reference cycle would hold memory after training
        self.replay: Replay | None = Replay(lambda *tensors: stepper._run(*tensors), device=device)

    def reset(self) -> None:
        """Discard the recorded step, as after a change of its weights or operations. Frees the memory that it holds."""
        if self.replay is not None:
            self.replay.reset()

    def __call__(self, batch: Batch, factor: float, *, smoothing: float, weighted: bool) -> Outputs:
        """Update the weights at this factor of the peak learning rate.

        Returns the loss, the logits (B, C), and the feature norms (B,) if `norms` is set; the next step may overwrite
        them. With `weighted`, the probabilities in the labels add up to the weight of each image.
        """
        self._smoothing, self._weight, self._weighted = smoothing, batch.weight, weighted
        rate: float | Tensor = factor * 0.5**self.rollbacks
        if batch.images.is_cuda:
            rate = torch.full((), rate, dtype=torch.float32, device=batch.images.device)
        return (self.replay or self._run)(batch.images, batch.labels, rate)

    def _run(self, images: Tensor, labels: Tensor, rate: float | Tensor) -> Outputs:
        self.optimizer.zero_grad()  # of a step that failed
        module = self.model.module
        recording = feature_norms(module, self.model.heads) if self.norms else contextlib.nullcontext([])
        scale = _LOSS_SCALE / _LOSS_SCALE_DIVISOR**self.rollbacks if self.precision == "float16" else 1.0
        merged = contextlib.nullcontext() if self.frozen_norms is None else self.frozen_norms.merged()
        with safe_convolutions(module, images.device):
            with autocast(images.device, self.precision), merged, recording as norms:
                logits = class_scores((self.forward or module)(images))
            loss = self._loss(logits.float(), images, labels)
            (loss * (self._weight * scale)).backward()
        if scale != 1:
            for gradient in (weight.grad for weight in module.parameters() if weight.grad is not None):
                gradient.div_(scale)
        self.optimizer.step(rate)
        return loss.detach(), logits.detach(), norms[-1] if norms else None

    def _loss(self, logits: Tensor, images: Tensor, labels: Tensor) -> Tensor:
        if self.teacher is None:
            return self.model.task.loss(logits, labels, smoothing=self._smoothing, weighted=self._weighted)
        targets = self.teacher.targets(images, labels, smoothing=self._smoothing, precision=self.precision)
        return self.model.task.loss(logits, targets)
