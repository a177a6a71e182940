"""Where a training stands: everything that changes while a network is trained, so that it can be saved and resumed."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.modules.batchnorm import _BatchNorm

from shoestring.config.plan import TRAINING_FLOPS_PER_MAC, TrainPlan, to_dict
from shoestring.data.batches import Batches
from shoestring.growth import Stage
from shoestring.growth.image_size import resizing
from shoestring.models.batchnorm import reestimate_batchnorm
from shoestring.models.layers import resize_tensors
from shoestring.models.model import Model
from shoestring.runtime.device import out_of_memory, synchronize
from shoestring.training.dynamics import Recorder
from shoestring.training.ema import Average
from shoestring.training.pace import Pace
from shoestring.training.stages import Stages
from shoestring.training.stepper import Stepper

_NORM_IMAGES, _FEWEST_NORM_IMAGES = 2048, 128  # that batch-norm statistics are re-estimated on; at most two batches


@dataclass(frozen=True)
class Training:
    """Summary of a training; the final learning rate is a fraction of its peak."""

    steps: int
    epochs: float
    batch_size: int
    optimizer: str
    precision: str
    grow: str
    final_learning_rate: float
    ended: str  # "budget", "patience" or "plan"


class Progress:
    """The state of one training: network, optimizer, coming batches, averaged weights, stage of growth, counters."""

    def __init__(
        self,
        plan: TrainPlan,
        stepper: Stepper,
        batches: Batches,
        stages: Stages,
        *,
        average: Average | None = None,
    ) -> None:
        self.plan, self.stepper, self.batches, self.stages, self.average = plan, stepper, batches, stages, average
        self.predict_seconds = plan.times.predict
        self.pace = Pace(plan.times.step(batches.size))
        self.record: Recorder | None = None
        self.steps = 0
        self.images = 0  # seen so far, each time counted
        self._recorded: dict[str, Tensor] | None = None

    @property
    def model(self) -> Model:
        """The model in training."""
        return self.stepper.model

    @property
    def epoch(self) -> float:
        """Epochs so far."""
        return self.images / len(self.batches)

    @property
    def values(self) -> dict[str, float]:
        """Values for progress reports."""
        stages = self.stages
        depth = {"depth": stages.depth} if stages.depth < 1 else {}
        return {"epoch": self.epoch, "side": stages.side, "width": stages.width, **depth}

    def enter(self, stage: Stage) -> None:
        """Train this stage from here on."""
        averages = [] if self.average is None else [self.average.values]
        if self.stages.advance(stage, self.stepper.optimizer, averages):
            self.stepper.forget()

    def step(self, factor: float, *, fraction: float = 0.0) -> Tensor:
        """Train on one batch at this factor of the peak learning rate; returns the loss.

        Augmentation is that of this fraction of the training. The next step may overwrite the loss.
        """
        batches = self.batches
        batch = batches.draw(progress=fraction, **resizing(self.stages.side, self.stages.full))
        smoothing, weighted = self.plan.label_smoothing, batches.weights is not None
        loss, logits, lengths = self.stepper(batch, factor, smoothing=smoothing, weighted=weighted)
        if self.record is not None:
            assert lengths is not None
            self.record(batch.index, logits, batch.labels, lengths)
        if self.average is not None:
            self.average.update(self.model.module)
        self.steps += 1
        self.images += batches.size
        return loss

    @property
    def off_by(self) -> float:
        """Seconds that the next step is expected to take over those planned."""
        work = self.stages.work
        return self.pace.expect(work) / (self.plan.times.step(self.batches.size) * work)

    @property
    def price(self) -> dict[str, float]:
        """What the next step costs, by the unit of a budget; the seconds are an estimate."""
        size, work = self.batches.size, self.stages.work
        flops = TRAINING_FLOPS_PER_MAC * self.stages.macs * work * size
        return {"seconds": self.pace.expect(work), "epochs": size / len(self.batches), "flops": flops}

    def halve(self) -> None:
        """Halve the batch size from here on, after a step that ran out of memory."""
        self.batches.size //= 2
        self.stepper.optimizer.clear()
        self.stepper.forget()
        self.pace = Pace(self.plan.times.step(self.batches.size))

    def watch(self, record: Recorder) -> None:
        """Record training dynamics of all batches from here on, continuing the saved ones if there are any."""
        self.batches.augment = replace(self.batches.augment, mixup=0.0)  # dynamics are those of whole images
        if self._recorded is not None:
            record.restore(self._recorded)
        self.record = record
        self.stepper.norms = True
        self.stepper.forget()

    def usable(self) -> Model:
        """A copy of the model with averaged weights and re-estimated batch norms, as if training ended here.

        The time of that also shows how long predictions take, on more images than were profiled.
        """
        model = replace(self.model, module=copy.deepcopy(self.model.module))
        began = time.monotonic()
        try:
            estimated = self._settle(model)
        except RuntimeError as error:
            self.stepper.forget()  # frees what recorded steps hold
            if not out_of_memory(error):
                raise
            estimated = self._settle(model)
        if estimated and self.stages.complete:
            took = (time.monotonic() - began) / len(self._norm_rows)
            self.predict_seconds = min(self.predict_seconds, took)
        return model

    def finish(self) -> None:
        """Give the model averaged weights and re-estimated batch norms: nothing is trained any more."""
        self.stepper.forget()  # frees what recorded steps hold
        self._settle(self.model)

    @property
    def norm_images(self) -> int:
        """Number of images that batch norms are re-estimated on in the end."""
        normed = any(isinstance(part, _BatchNorm) for part in self.model.module.modules())
        return len(self._norm_rows) if normed else 0

    @property
    def _norm_rows(self) -> Tensor:
        """The same rows each time, drawn at random: every n-th would miss classes where they alternate."""
        rows = self.batches.rows
        count = min(len(rows), _NORM_IMAGES, max(2 * self.batches.size, _FEWEST_NORM_IMAGES))
        drawn = np.random.default_rng(self.batches.seed).choice(len(rows), count, replace=False)
        return rows[torch.from_numpy(drawn).to(rows.device)]

    def _settle(self, model: Model) -> bool:
        """Apply the averaged weights and re-estimate batch norms; whether there are any.

        Running statistics are of other weights and smaller images, and after few steps mostly of the first ones.
        """
        if self.average is not None:
            self.average.apply(model.module)
        rows = self._norm_rows
        parts = rows.tensor_split(max(1, len(rows) // self.batches.size))  # none smaller than a batch
        estimated = reestimate_batchnorm(model.module, (model.prepare(self.batches.pixels[part]) for part in parts))
        synchronize(rows.device)
        return estimated

    def summary(self, factor: float, ended: str) -> Training:
        """Summary of a training that ended at this factor of the learning rate, for this reason."""
        plan = self.plan
        grow = plan.grow
        return Training(self.steps, self.epoch, self.batches.size, plan.optimizer, plan.precision, grow, factor, ended)

    def pack(self) -> dict[str, Any]:
        """Tensors and plain values that `unpack` restores."""
        return {
            "network": (self.model.name, self.model.options),
            "plan": to_dict(self.plan),
            "width": self.stages.width,
            "depth": self.stages.depth,
            "sizes": getattr(self.model.module, "sizes_changed", {}),
            "module": self.model.module.state_dict(),
            "batches": self.batches.state(),
            "optimiser": self.stepper.optimizer.state_dict(),
            "average": self.average and self.average.state(),
            "record": self.record and self.record.state(),
            "counts": (self.steps, self.images, self.stepper.setbacks),
        }

    def unpack(self, saved: dict[str, Any]) -> None:
        """Continue where `pack` was called: the same network of the same width and depth, the same coming batches."""
        module, tensors = self.model.module, saved["module"]
        resize_tensors(module, {name: tensor.shape for name, tensor in tensors.items()}, saved["sizes"])
        module.load_state_dict(tensors)
        self.batches.restore(saved["batches"])
        self.stepper.optimizer.load_state_dict(saved["optimiser"])
        if self.average is not None:
            self.average.restore(saved["average"])
        if self.record is not None:
            self.record.restore(saved["record"])
        self._recorded = saved["record"]
        self.steps, self.images, self.stepper.setbacks = saved["counts"]
        self.stages.restore(saved["width"], saved["depth"])
        self.stepper.forget()
