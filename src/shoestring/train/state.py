"""Everything that changes while a network is trained, in one place, so that it can be saved and gone on with."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.nn import functional

from shoestring.budget import Window
from shoestring.data.batches import Batches
from shoestring.models.inference import low_precision
from shoestring.models.model import Model
from shoestring.train import plan
from shoestring.train.averaging import Average
from shoestring.train.calibrate import Speed
from shoestring.train.dynamics import Recorder, lengths_seen
from shoestring.train.optimiser import Optimiser


@dataclass
class State:
    """The moving parts of one training."""

    model: Model
    batches: Batches
    optimiser: Optimiser
    average: Average | None
    speed: Speed
    macs: float  # of one image at full resolution
    record: Recorder | None = None
    steps: int = 0
    images: int = 0  # seen so far, each time counted
    _recorded: dict[str, Tensor] | None = None

    @property
    def epoch(self) -> float:
        """Passes over the images so far."""
        return self.images / len(self.batches)

    def step(self, side: int, full: int, factor: float, *, smoothing: float) -> Tensor:
        """One batch forward and back, and the weights moved by this share of the learning rate; the loss."""
        batch = self.batches.draw(**plan.smaller(side, full))
        module = self.model.module
        noted = contextlib.nullcontext([]) if self.record is None else lengths_seen(module)
        with low_precision(batch.images.device, self.speed.precision), noted as lengths:
            logits = module(batch.images)
        loss = functional.cross_entropy(logits.float(), batch.labels, label_smoothing=smoothing)
        loss.backward()
        self.optimiser.step(factor)
        if self.record is not None:
            self.record(batch.index, logits, batch.labels, lengths[-1])
        if self.average is not None:
            self.average.update(module)
        self.steps += 1
        self.images += len(batch.index)
        return loss

    def price(self, side: int, full: int) -> dict[str, float]:
        """What the next step costs in epochs and in floating-point operations."""
        size = self.batches.size
        flops = plan.FLOPS_PER_MAC * self.macs * (side / full) ** 2 * size
        return {"epochs": size / len(self.batches), "flops": flops}

    def halve(self) -> None:
        """Half of the images a step from here on; what a step that failed has left behind goes."""
        self.batches.size //= 2
        self.optimiser.clear()

    def watch(self, record: Recorder) -> None:
        """Let a recorder see all batches from here on, going on from the saved counts when there are any."""
        if self._recorded is not None:
            record.restore(self._recorded)
        self.record = record

    def pack(self, window: Window) -> dict[str, Any]:
        """Tensors and plain values that `unpack` restores."""
        return {
            "network": (self.model.name, self.model.options),
            "module": self.model.module.state_dict(),
            "batches": self.batches.state(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average and self.average.state(),
            "record": self.record and self.record.state(),
            "counts": (self.steps, self.images),
            "window": (window.start, window.share),
            "counted": window.budget.counted,
        }

    def unpack(self, saved: dict[str, Any], window: Window) -> None:
        """Go on where `pack` was called: same weights, same coming batches, same place in the budget."""
        self.model.module.load_state_dict(saved["module"])
        self.batches.restore(saved["batches"])
        self.optimiser.load_state_dict(saved["optimiser"])
        if self.average is not None:
            self.average.restore(saved["average"])
        self._recorded = saved["record"]
        self.steps, self.images = saved["counts"]
        window.start, window.share = saved["window"]
        window.budget.counted = saved["counted"]
