"""Training dynamics of each image: forgetting events, margins, and errors and gradients epoch by epoch."""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shoestring.models.heads import head_inputs, last_layer


@dataclass(frozen=True)
class Dynamics:
    """Per image (N,): forgetting events, whether it was ever learned, and the mean margin over all times it was seen.

    Per epoch (E, N), NaN where an image was not seen: `confidence`, the probability of the label; `error`, the norm of
    the probabilities minus the one-hot label; and `gradient`, the norm of the gradient of the cross-entropy with
    respect to the weights of the last linear layer.
    """

    forgotten: NDArray[np.int64]
    learned: NDArray[np.bool_]
    margin: NDArray[np.float64]
    confidence: NDArray[np.float32]
    error: NDArray[np.float32]
    gradient: NDArray[np.float32]


def margins(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The logit of the label minus the largest other (N,), from logits (N, C) and labels (N,)."""
    rows = np.arange(len(labels))
    others = logits.astype(np.float64)
    truth = others[rows, labels]
    others[rows, labels] = -np.inf
    return truth - others.max(1)


@contextlib.contextmanager
def feature_norms(module: nn.Module, heads: Collection[str] = ()) -> Iterator[list[Tensor]]:
    """Norms (B,) of the inputs of the last layer, for each call of the module in this block.

    `heads` are the names of the layer's tensors. A bias counts as an input of one, so that error times norm is the norm
    of the layer's gradient (for the logits that the layer returns: scaling them scales all gradients alike).
    """
    norms: list[Tensor] = []

    def record(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        squares = head_inputs(layer, inputs).square().sum(1)
        norms.append((squares + (layer.bias is not None)).sqrt())

    hook = last_layer(module, heads).register_forward_pre_hook(record)
    try:
        yield norms
    finally:
        hook.remove()


class Recorder:
    """Records the dynamics of one training; a forgetting event is a change from right to wrong (Toneva et al. 2019)."""

    def __init__(self, count: int, device: str = "cpu") -> None:
        self.right = torch.zeros(count, dtype=torch.bool, device=device)
        self.learned = torch.zeros_like(self.right)
        self.forgotten = torch.zeros(count, dtype=torch.int64, device=device)
        exact = torch.float32 if torch.device(device).type == "mps" else torch.float64  # MPS has no float64
        self.margin = torch.zeros(count, dtype=exact, device=device)
        self.seen = torch.zeros(count, dtype=torch.int64, device=device)
        self.confidence = torch.empty(0, count, device=device)
        self.error = torch.empty(0, count, device=device)
        self.gradient = torch.empty(0, count, device=device)

    @torch.no_grad()
    def __call__(self, index: Tensor, logits: Tensor, labels: Tensor, norms: Tensor) -> None:
        """Record a batch: image indices (B,), logits (B, C) before the step, labels (B,) and `feature_norms` (B,)."""
        logits = logits.detach().float()
        truth = logits.gather(1, labels[:, None]).squeeze(1)
        others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
        right = truth > others
        self.forgotten[index] += self.right[index] & ~right
        self.right[index] = right
        self.learned[index] |= right
        self.margin[index] += (truth - others).to(self.margin.dtype)
        self._record_epoch(index, logits.softmax(1), labels, norms)
        self.seen[index] += 1

    def _record_epoch(self, index: Tensor, probabilities: Tensor, labels: Tensor, norms: Tensor) -> None:
        """Record probabilities (B, C) of images that are seen once per epoch."""
        epoch = self.seen[index]
        if int(epoch.max()) == len(self.confidence):
            blank = torch.full((1, len(self.seen)), torch.nan, device=self.seen.device)
            for name in ("confidence", "error", "gradient"):
                setattr(self, name, torch.cat([getattr(self, name), blank]))
        confidence = probabilities.gather(1, labels[:, None])
        self.confidence[epoch, index] = confidence.squeeze(1)
        error = probabilities.scatter_add(1, labels[:, None], -torch.ones_like(confidence)).norm(dim=1)
        self.error[epoch, index] = error
        self.gradient[epoch, index] = error * norms

    def state(self) -> dict[str, Tensor]:
        """The state for `restore`."""
        return dict(vars(self))

    def restore(self, state: dict[str, Tensor]) -> None:
        """Continue from a saved state."""
        for name, value in state.items():
            setattr(self, name, value.to(self.right.device))

    def result(self) -> Dynamics:
        """The dynamics as arrays; an image that was never seen has margin minus infinity and was never learned."""
        mean = torch.where(self.seen > 0, self.margin / self.seen.clamp(min=1), -torch.inf).cpu().double()
        tensors = (self.forgotten, self.learned, mean, self.confidence, self.error, self.gradient)
        return Dynamics(*(values.cpu().numpy() for values in tensors))
