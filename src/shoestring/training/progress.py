"""The state of a training: everything that changes while a network is trained, so that it can be saved and resumed."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shoestring.config.plan import TRAINING_FLOPS_PER_MAC, TrainPlan, to_dict
from shoestring.data.batches import Batches
from shoestring.growth import Stage
from shoestring.growth.image_size import resizing
from shoestring.models.batchnorm import reestimate_batchnorm
from shoestring.models.layers import resize_tensors
from shoestring.models.model import Model
from shoestring.runtime.device import out_of_memory, synchronize
from shoestring.training.distillation import Teacher
from shoestring.training.dynamics import Recorder
from shoestring.training.ema import WeightAverage
from shoestring.training.stages import GrowthState
from shoestring.training.step_times import StepTimer
from shoestring.training.stepper import Stepper

# Images that batch-norm statistics are re-estimated on: at most two batches, unless these are fewer than the minimum.
_NORM_IMAGES, _MIN_NORM_IMAGES = 2048, 128

Constraint = Callable[[float], None]  # called with the fraction of the training


@dataclass(frozen=True)
class TrainingSummary:
    """Summary of a finished training; the final learning rate is a fraction of its peak."""

    steps: int
    epochs: float
    batch_size: int
    optimizer: str
    precision: str
    grow: str
    final_learning_rate: float
    ended: str  # "budget", "patience" or "plan"


class TrainingState:
    """The state of one training: network, optimizer, upcoming batches, averaged weights, growth stage, counters."""

    def __init__(
        self,
        plan: TrainPlan,
        stepper: Stepper,
        batches: Batches,
        growth: GrowthState,
        *,
        average: WeightAverage | None = None,
    ) -> None:
        self.plan, self.stepper, self.batches, self.growth, self.average = plan, stepper, batches, growth, average
        self.predict_seconds = plan.times.predict
        self.timer = StepTimer(plan.times.step(batches.size))
        self.record: Recorder | None = None
        self.constrain: Constraint | None = None  # changes the weights after each step
        self.steps = 0
        self.images = 0  # seen so far, repetitions included
        self.frozen: list[nn.Parameter] = []  # trainable weights that are not tuned
        self.frozen_macs = 0  # of the part of the network that steps do not run
        self.teacher_flops = 0.0  # for each image
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
        growth = self.growth
        depth = {"depth": growth.depth} if growth.depth < 1 else {}
        return {"epoch": self.epoch, "side": growth.side, "width": growth.width, **depth}

    def enter(self, stage: Stage) -> None:
        """Continue with this growth stage."""
        averages = [] if self.average is None else [self.average.values]
        if self.growth.advance(stage, self.stepper.optimizer, averages):
            self.stepper.reset()

    def step(self, factor: float, *, fraction: float = 0.0) -> Tensor:
        """Train on one batch at this factor of the peak learning rate; returns the loss.

        `fraction` of the training sets the strength of augmentation. The next step may overwrite the loss.
        """
        batches = self.batches
        batch = batches.draw(progress=fraction, **resizing(self.growth.side, self.growth.full))
        smoothing, weighted = self.plan.label_smoothing, batches.weights is not None
        loss, logits, norms = self.stepper(batch, factor, smoothing=smoothing, weighted=weighted)
        if self.record is not None:
            assert norms is not None
            self.record(batch.index, logits, batch.labels, norms)
        if self.constrain is not None:
            self.constrain(fraction)
        if self.average is not None:
            self.average.update(self.model.module)
        self.steps += 1
        self.images += batches.size
        return loss

    @property
    def time_ratio(self) -> float:
        """Expected over planned seconds of the next step."""
        work = self.growth.work
        return self.timer.expected(work) / (self.plan.times.step(self.batches.size) * work)

    @property
    def step_cost(self) -> dict[str, float]:
        """Cost of the next step in each unit of a budget; the seconds are an estimate."""
        size, work = self.batches.size, self.growth.work
        flops = (TRAINING_FLOPS_PER_MAC * (self.growth.macs - self.frozen_macs) * work + self.teacher_flops) * size
        return {"seconds": self.timer.expected(work), "epochs": size / len(self.batches), "flops": flops}

    def halve_batch_size(self) -> None:
        """Halve the batch size after a step that ran out of memory."""
        self.batches.size //= 2
        self.stepper.optimizer.zero_grad()
        self.stepper.reset()
        self.timer = StepTimer(self.plan.times.step(self.batches.size))

    def learn_from(self, teacher: Teacher) -> None:
        """Learn the predictions of the teacher beside the labels from here on."""
        self.stepper.teacher = teacher
        self.teacher_flops = 2.0 * teacher.macs
        self.stepper.reset()

    def watch(self, record: Recorder) -> None:
        """Record training dynamics from here on, continuing saved ones if there are any."""
        self.batches.augment = replace(self.batches.augment, mixup=0.0)  # dynamics are those of single images
        if self._recorded is not None:
            record.restore(self._recorded)
        self.record = record
        self.stepper.norms = True
        self.stepper.reset()

    def usable(self) -> Model:
        """A copy of the model with averaged weights and re-estimated batch norms, as if training ended here.

        This also updates the prediction time, as it is measured on more images than were profiled.
        """
        model = replace(self.model, module=copy.deepcopy(self.model.module))
        start = time.monotonic()
        try:
            estimated = self._finalize(model)
        except RuntimeError as error:
            self.stepper.reset()  # frees the memory that recorded steps hold
            if not out_of_memory(error):
                raise
            estimated = self._finalize(model)
        if estimated and self.growth.complete:
            seconds = (time.monotonic() - start) / len(self._norm_rows)
            self.predict_seconds = min(self.predict_seconds, seconds)
        return model

    def finish(self) -> None:
        """Apply averaged weights and re-estimate batch norms at the end of the training."""
        self.stepper.reset()  # frees the memory that recorded steps hold
        self._finalize(self.model)

    def unfreeze(self) -> None:
        """Let all weights be trained again that were frozen for this training."""
        for weight in self.frozen:
            weight.requires_grad_(True)

    @property
    def norm_images(self) -> int:
        """Number of images that batch norms are re-estimated on at the end."""
        normed = any(isinstance(part, _BatchNorm) for part in self.model.module.modules())
        if self.plan.fine_tune is not None:
            return 0
        return len(self._norm_rows) if normed else 0

    @property
    def _norm_rows(self) -> Tensor:
        """The same random rows each time; every n-th row would miss classes where they alternate."""
        rows = self.batches.rows
        count = min(len(rows), _NORM_IMAGES, max(2 * self.batches.size, _MIN_NORM_IMAGES))
        drawn = np.random.default_rng(self.batches.seed).choice(len(rows), count, replace=False)
        return rows[torch.from_numpy(drawn).to(rows.device)]

    def _finalize(self, model: Model) -> bool:
        """Apply averaged weights and re-estimate batch norms; returns whether there are any.

        Running statistics belong to other weights and smaller images, and after few steps mostly to the first ones.
        """
        if self.average is not None:
            self.average.apply(model.module)
        if self.plan.fine_tune is not None:  # the statistics are the pretrained ones
            return False
        rows = self._norm_rows
        batches = rows.tensor_split(max(1, len(rows) // self.batches.size))  # at least a batch each
        estimated = reestimate_batchnorm(model.module, (model.prepare(self.batches.pixels[batch]) for batch in batches))
        synchronize(rows.device)
        return estimated

    def summary(self, factor: float, ended: str) -> TrainingSummary:
        """Summary of a training that ended at this factor of the learning rate, for this reason."""
        plan, size, grow = self.plan, self.batches.size, str(self.plan.grow)
        return TrainingSummary(self.steps, self.epoch, size, plan.optimizer, plan.precision, grow, factor, ended)

    def pack(self) -> dict[str, Any]:
        """The state for `unpack`: tensors and plain values."""
        return {
            "network": (self.model.name, self.model.options),
            "plan": to_dict(self.plan),
            "width": self.growth.width,
            "depth": self.growth.depth,
            "sizes": getattr(self.model.module, "sizes_changed", {}),
            "module": self.model.module.state_dict(),
            "batches": self.batches.state(),
            "optimiser": self.stepper.optimizer.state_dict(),
            "average": self.average and self.average.state(),
            "record": self.record and self.record.state(),
            "counts": (self.steps, self.images, self.stepper.rollbacks),
        }

    def unpack(self, saved: dict[str, Any]) -> None:
        """Continue where `pack` was called: same network, width and depth, same upcoming batches."""
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
        self.steps, self.images, self.stepper.rollbacks = saved["counts"]
        self.growth.restore(saved["width"], saved["depth"])
        self.stepper.reset()
