"""What training tells about each image: how often it was forgotten, how clearly it was told from the other classes."""

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
    """Per image (N,): forgetting events, whether it was ever learnt, and the mean margin over all times it was seen.

    Epoch by epoch (E, N), NaN where an image was not seen: `confidence`, the probability of the label, `error`, the
    length of the vector of probabilities less the label's, and `gradient`, the length of the gradient of the
    cross-entropy with respect to the weights of the last linear layer.
    """

    forgotten: NDArray[np.int64]
    learnt: NDArray[np.bool_]
    margin: NDArray[np.float64]
    confidence: NDArray[np.float32]
    error: NDArray[np.float32]
    gradient: NDArray[np.float32]


def margins(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The logit of the label less the best other (N,), from logits (N, C) and labels (N,)."""
    rows = np.arange(len(labels))
    others = logits.astype(np.float64)
    truth = others[rows, labels]
    others[rows, labels] = -np.inf
    return truth - others.max(1)


@contextlib.contextmanager
def lengths_seen(module: nn.Module, heads: Collection[str] = ()) -> Iterator[list[Tensor]]:
    """Lengths (B,) of what the last layer sees, for each call of the module in this block; `heads` are its tensors.

    A bias counts as a one among the inputs, so that error times length is the length of the layer's gradient (for the
    logits as they leave the layer: a network that scales them scales all gradients alike).
    """
    found: list[Tensor] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        squares = head_inputs(layer, inputs).square().sum(1)
        found.append((squares + (layer.bias is not None)).sqrt())

    hook = last_layer(module, heads).register_forward_pre_hook(note)
    try:
        yield found
    finally:
        hook.remove()


class Recorder:
    """Watches the batches of one training (Toneva et al. 2019): an event is a step from right to wrong."""

    def __init__(self, count: int, device: str = "cpu") -> None:
        self.right = torch.zeros(count, dtype=torch.bool, device=device)
        self.learnt = torch.zeros_like(self.right)
        self.forgotten = torch.zeros(count, dtype=torch.int64, device=device)
        exact = torch.float32 if torch.device(device).type == "mps" else torch.float64  # which MPS does not have
        self.margin = torch.zeros(count, dtype=exact, device=device)
        self.seen = torch.zeros(count, dtype=torch.int64, device=device)
        self.confidence = torch.empty(0, count, device=device)
        self.error = torch.empty(0, count, device=device)
        self.gradient = torch.empty(0, count, device=device)

    @torch.no_grad()
    def __call__(self, index: Tensor, logits: Tensor, labels: Tensor, lengths: Tensor) -> None:
        """Take note of one batch: image numbers, logits (B, C) before the step, labels, `lengths_seen`; else (B,)."""
        logits = logits.detach().float()
        truth = logits.gather(1, labels[:, None]).squeeze(1)
        others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
        now = truth > others
        self.forgotten[index] += self.right[index] & ~now
        self.right[index] = now
        self.learnt[index] |= now
        self.margin[index] += (truth - others).to(self.margin.dtype)
        self._note_epoch(index, logits.softmax(1), labels, lengths)
        self.seen[index] += 1

    def _note_epoch(self, index: Tensor, shares: Tensor, labels: Tensor, lengths: Tensor) -> None:
        """Probabilities (B, C) of images that are seen once an epoch."""
        epoch = self.seen[index]
        if int(epoch.max()) == len(self.confidence):
            blank = torch.full((1, len(self.seen)), torch.nan, device=self.seen.device)
            for name in ("confidence", "error", "gradient"):
                setattr(self, name, torch.cat([getattr(self, name), blank]))
        own = shares.gather(1, labels[:, None])
        self.confidence[epoch, index] = own.squeeze(1)
        error = shares.scatter_add(1, labels[:, None], -torch.ones_like(own)).norm(dim=1)
        self.error[epoch, index] = error
        self.gradient[epoch, index] = error * lengths

    def state(self) -> dict[str, Tensor]:
        """All counts so far."""
        return dict(vars(self))

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from counts taken before."""
        for name, value in state.items():
            setattr(self, name, value.to(self.right.device))

    def result(self) -> Dynamics:
        """The counts as plain arrays; an image never seen has margin minus infinity and was never learnt."""
        mean = torch.where(self.seen > 0, self.margin / self.seen.clamp(min=1), -torch.inf).cpu().double()
        found = (self.forgotten, self.learnt, mean, self.confidence, self.error, self.gradient)
        return Dynamics(*(values.cpu().numpy() for values in found))
