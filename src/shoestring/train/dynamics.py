"""What training tells about each image: how often it was forgotten, how clearly it was told from the other classes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Dynamics:
    """Per image (N,): forgetting events, whether it was ever learnt, and the mean margin over all times it was seen.

    Epoch by epoch (E, N), NaN where an image was not seen: `confidence`, the probability of the label, and `error`, the
    length of the vector of probabilities less the label's.
    """

    forgotten: NDArray[np.int64]
    learnt: NDArray[np.bool_]
    margin: NDArray[np.float64]
    confidence: NDArray[np.float32]
    error: NDArray[np.float32]


def margins(logits: NDArray[np.float32], labels: NDArray[np.int64]) -> NDArray[np.float64]:
    """The logit of the label less the best other (N,), from logits (N, C) and labels (N,)."""
    rows = np.arange(len(labels))
    others = logits.astype(np.float64)
    truth = others[rows, labels]
    others[rows, labels] = -np.inf
    return truth - others.max(1)


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

    @torch.no_grad()
    def __call__(self, index: Tensor, logits: Tensor, labels: Tensor) -> None:
        """Take note of one batch: image numbers (B,), logits (B, C) before the step, labels (B,)."""
        logits = logits.detach().float()
        truth = logits.gather(1, labels[:, None]).squeeze(1)
        others = logits.scatter(1, labels[:, None], -torch.inf).amax(1)
        now = truth > others
        self.forgotten[index] += self.right[index] & ~now
        self.right[index] = now
        self.learnt[index] |= now
        self.margin[index] += (truth - others).to(self.margin.dtype)
        self._note_epoch(index, logits.softmax(1), labels)
        self.seen[index] += 1

    def _note_epoch(self, index: Tensor, shares: Tensor, labels: Tensor) -> None:
        """Probabilities (B, C) of images that are seen once an epoch."""
        epoch = self.seen[index]
        if int(epoch.max()) == len(self.confidence):
            blank = torch.full((1, len(self.seen)), torch.nan, device=self.seen.device)
            self.confidence, self.error = torch.cat([self.confidence, blank]), torch.cat([self.error, blank])
        own = shares.gather(1, labels[:, None])
        self.confidence[epoch, index] = own.squeeze(1)
        self.error[epoch, index] = shares.scatter_add(1, labels[:, None], -torch.ones_like(own)).norm(dim=1)

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
        found = (self.forgotten, self.learnt, mean, self.confidence, self.error)
        return Dynamics(*(values.cpu().numpy() for values in found))
