"""One training step: forward, backward, update. On CUDA devices it is recorded once as a graph and replayed."""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from shoestring.data.batches import Batch
from shoestring.models.inference import autocast
from shoestring.models.model import Model
from shoestring.runtime.cuda_graph import Replay
from shoestring.runtime.device import safe_convolutions
from shoestring.training.dynamics import lengths_seen
from shoestring.training.optimizers.optimizer import Optimizer

# Loss scale, so that small gradients do not vanish in float16 (Micikevicius et al. 2018), and by how much it is divided
# when training goes back to an earlier state: gradients may have overflowed.
_LOSS_SCALE, _DIVIDED = 1024.0, 16.0

Outputs = tuple[Tensor, Tensor, Tensor | None]


class Stepper:
    """Runs training steps of a model.

    `forward` runs the network where several processes train it (the module itself, when None). With `norms`, steps
    also return the lengths of the features of each image. After `setbacks` the learning rate is halved that many times.
    """

    def __init__(self, model: Model, optimizer: Optimizer, *, precision: str, device: torch.device) -> None:
        self.model, self.optimizer, self.precision = model, optimizer, precision
        self.forward: Callable[[Tensor], Tensor] | None = None
        self.norms = False
        self.setbacks = 0
        self._smoothing, self._weight, self._weighted = 0.0, 1.0, False
        this = weakref.proxy(self)  # no reference cycle, which would keep memory after training
        self.replay: Replay | None = Replay(lambda *tensors: this._learn(*tensors), device=device)

    def forget(self) -> None:
        """Record the step again: weights are elsewhere now, or a step does something else. Frees recorded memory."""
        if self.replay is not None:
            self.replay.reset()

    def __call__(self, batch: Batch, factor: float, *, smoothing: float, weighted: bool) -> Outputs:
        """Update the weights at this factor of the peak learning rate.

        Returns the loss, the logits (B, C), and the lengths (B,) of the features if `norms` is set; the next step may
        overwrite them. `weighted` says that the labels (B, C) of each image add up to its weight.
        """
        self._smoothing, self._weight, self._weighted = smoothing, batch.weight, weighted
        rate: float | Tensor = factor * 0.5**self.setbacks
        if batch.images.is_cuda:
            rate = torch.full((), rate, dtype=torch.float32, device=batch.images.device)
        return (self.replay or self._learn)(batch.images, batch.labels, rate)

    def _learn(self, images: Tensor, labels: Tensor, rate: float | Tensor) -> Outputs:
        self.optimizer.clear()  # gradients that a failed step has left
        module = self.model.module
        noted = lengths_seen(module, self.model.heads) if self.norms else contextlib.nullcontext([])
        scale = _LOSS_SCALE / _DIVIDED**self.setbacks if self.precision == "float16" else 1.0
        with safe_convolutions(module, images.device):
            with autocast(images.device, self.precision), noted as lengths:
                logits = (self.forward or module)(images)
            loss = self._loss(logits.float(), labels)
            (loss * (self._weight * scale)).backward()
        if scale != 1:
            for gradient in (weight.grad for weight in module.parameters() if weight.grad is not None):
                gradient.div_(scale)
        self.optimizer.step(rate)
        return loss.detach(), logits.detach(), lengths[-1] if lengths else None

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of logits (B, C) and labels (B,), or (B, C) that add up to the weight of each image."""
        smoothing = self._smoothing
        if self._weighted:  # smoothing is weighted as well: an image of weight zero has no effect
            mean, smoothing = labels.mean(1, keepdim=True).expand_as(labels), 0.0
            labels = torch.lerp(labels, mean, self._smoothing)
        return functional.cross_entropy(logits, labels, label_smoothing=smoothing)
