"""Everything that changes while a network is trained, in one place, so that it can be saved and gone on with."""

from __future__ import annotations

import contextlib
import copy
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from shoestring.data.batches import Batches
from shoestring.evaluation.cost import count_macs
from shoestring.growth import Stage
from shoestring.growth.deepening import GrowableBlocks
from shoestring.growth.widening import GrowableChannels
from shoestring.models.batchnorm import reestimate_batchnorm
from shoestring.models.inference import autocast
from shoestring.models.layers import resize_tensors
from shoestring.models.model import Model
from shoestring.runtime.cuda_graph import Replay
from shoestring.runtime.device import out_of_memory, safe_convolutions, synchronize
from shoestring.training import defaults
from shoestring.training.dynamics import Recorder, lengths_seen
from shoestring.training.ema import Average
from shoestring.training.optimizers.optimizer import Optimiser
from shoestring.training.pace import Pace
from shoestring.training.profiling import FLOPS_PER_MAC, Speed

_LOOKED_AT = 2048  # images that batch norms look at before a model is used, fewer where two steps see fewer
_FEWEST = 128
# Scale of the loss, so that small gradients are not lost in float16 (Micikevicius et al. 2018), and by how much it
# falls when training goes back: large ones may have been no numbers.
_SCALE, _SMALLER = 1024.0, 16.0


@dataclass(frozen=True)
class Training:
    """How a training went; the final learning rate is a share of its peak."""

    steps: int
    epochs: float
    batch_size: int
    optimiser: str
    precision: str
    grow: str
    final_learning_rate: float
    ended: str  # "budget", "patience" or "plan"


@dataclass
class State:
    """The moving parts of one training; `macs` are those of one image for the whole network at full resolution."""

    model: Model
    batches: Batches
    optimiser: Optimiser
    average: Average | None
    speed: Speed
    macs: float
    grows: str = "constant"  # how, as a user names it
    growing: GrowableChannels | None = None
    blocks: GrowableBlocks | None = None
    width: float = 1.0
    depth: float = 1.0
    record: Recorder | None = None
    steps: int = 0
    images: int = 0  # seen so far, each time counted
    setbacks: int = 0  # times that training went back to a state from before, with half of the learning rate
    _recorded: dict[str, Tensor] | None = None

    def __post_init__(self) -> None:
        self.side = self.model.preprocessing.resolution
        self.pace = Pace(self.speed.step(self.batches.size))
        self.run: Callable[[Tensor], Tensor] | None = None  # the network where several processes train it
        me = weakref.proxy(self)  # no circle, in which memory would outlive the training
        self.replay: Replay | None = Replay(lambda *given: me._learn(*given), device=self.batches.pixels.device)
        self._smoothing, self._weight = 0.0, 1.0
        self._measure()

    @property
    def epoch(self) -> float:
        """Passes over the images so far."""
        return self.images / len(self.batches)

    @property
    def work(self) -> float:
        """Operations of a step over those that the whole network at full resolution would take."""
        return self._share * (self.side / self.model.preprocessing.resolution) ** 2

    @property
    def told(self) -> dict[str, float]:
        """Where training stands, for reports."""
        shallow = {"depth": self.depth} if self.depth < 1 else {}
        return {"epoch": self.epoch, "side": self.side, "width": self.width, **shallow}

    def grow(self, stage: Stage) -> None:
        """Train this stage from here on.

        Channels and blocks that are there stay: the fraction spent falls a little when the reserve turns out smaller.
        """
        if stage.width > self.width:
            assert self.growing is not None
            self.growing.widen(
                self.model.module,
                self.width,
                stage.width,
                optimizers=self.optimiser.parts,
                averages=[] if self.average is None else [self.average.values],
            )
            self.width = stage.width
            self._measure()
        if stage.depth > self.depth:
            assert self.blocks is not None
            self.blocks.deepen(self.model.module, stage.depth)
            self.depth = stage.depth
            self._measure()
        self.side = defaults.side(stage, self.model.preprocessing.resolution)

    def _record_anew(self) -> None:
        """Weights lie elsewhere from here on, or a step does something else."""
        if self.replay is not None:
            self.replay.reset()

    def _measure(self) -> None:
        self._record_anew()
        self._share = 1.0 if self.width == self.depth == 1 else count_macs(self.model) / self.macs

    def step(self, factor: float, *, smoothing: float, progress: float = 0.0) -> Tensor:
        """One batch forward and back, and the weights moved by this share of the learning rate; the loss.

        The images are changed as is due at this share of the training. The next step may overwrite the loss.
        """
        batch = self.batches.draw(progress=progress, **defaults.smaller(self.side, self.model.preprocessing.resolution))
        self._smoothing, self._weight = smoothing, batch.weight
        rate: float | Tensor = factor * 0.5**self.setbacks
        if batch.images.is_cuda:
            rate = torch.full((), rate, dtype=torch.float32, device=batch.images.device)
        learn = self.replay or self._learn
        loss, logits, lengths = learn(batch.images, batch.labels, rate)
        if self.record is not None:
            assert lengths is not None
            self.record(batch.index, logits, batch.labels, lengths)
        if self.average is not None:
            self.average.update(self.model.module)
        self.steps += 1
        self.images += self.batches.size
        return loss

    def _learn(self, images: Tensor, labels: Tensor, rate: float | Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """The loss and the logits (B, C) of a batch by which the weights were moved, and `lengths_seen` if recorded."""
        self.optimiser.clear()  # what a step that failed has left behind
        module = self.model.module
        noted = contextlib.nullcontext([]) if self.record is None else lengths_seen(module, self.model.heads)
        scale = _SCALE / _SMALLER**self.setbacks if self.speed.precision == "float16" else 1.0
        with safe_convolutions(module, images.device):
            with autocast(images.device, self.speed.precision), noted as lengths:
                logits = (module if self.run is None else self.run)(images)
            loss = self._loss(logits.float(), labels)
            (loss * (self._weight * scale)).backward()
        if scale != 1:
            for gradient in (weight.grad for weight in module.parameters() if weight.grad is not None):
                gradient.div_(scale)
        self.optimiser.step(rate)
        return loss.detach(), logits.detach(), lengths[-1] if lengths else None

    def _loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Mean cross-entropy of logits (B, C) and labels (B,), or (B, C) that add up to the weight of each image."""
        smoothing = self._smoothing
        if self.batches.weights is not None:  # which count in smoothing, too: a weight of zero is no image
            mean, smoothing = labels.mean(1, keepdim=True).expand_as(labels), 0.0
            labels = torch.lerp(labels, mean, self._smoothing)
        return functional.cross_entropy(logits, labels, label_smoothing=smoothing)

    @property
    def off_by(self) -> float:
        """Seconds that the next step will take over those that were planned before training."""
        return self.pace.expect(self.work) / (self.speed.step(self.batches.size) * self.work)

    @property
    def price(self) -> dict[str, float]:
        """What the next step costs, by the units of a budget; the seconds are a guess."""
        size = self.batches.size
        flops = FLOPS_PER_MAC * self.macs * self.work * size
        return {"seconds": self.pace.expect(self.work), "epochs": size / len(self.batches), "flops": flops}

    def halve(self) -> None:
        """Half of the images a step from here on; what a step that failed has left behind goes."""
        self.batches.size //= 2
        self.optimiser.clear()
        self._record_anew()
        self.pace = Pace(self.speed.step(self.batches.size))

    def watch(self, record: Recorder) -> None:
        """Let a recorder see all batches from here on, going on from the saved counts when there are any."""
        self.batches.augment = replace(self.batches.augment, mixup=0.0)  # what is learnt of an image needs it whole
        if self._recorded is not None:
            record.restore(self._recorded)
        self.record = record
        self._record_anew()

    def shipped(self) -> Model:
        """The model as it would be used if training ended here: a copy with averaged weights and fitting batch norms.

        How long these look at images says, too, how long evaluation will take, better than the few images did that
        were looked at before training.
        """
        model = replace(self.model, module=copy.deepcopy(self.model.module))
        began = time.monotonic()
        try:
            looked = self._settle(model)
        except RuntimeError as error:
            self._record_anew()  # which frees what recorded steps hold
            if not out_of_memory(error):
                raise
            looked = self._settle(model)
        if looked and self.width == self.depth == 1:
            took = (time.monotonic() - began) / len(self._few)
            self.speed = replace(self.speed, predict=min(self.speed.predict, took))
        return model

    def finish(self) -> None:
        """Make the model the one to use: nothing is trained any more."""
        self._record_anew()  # which frees what recorded steps hold
        self._settle(self.model)

    @property
    def looked_at(self) -> int:
        """Images that the batch norms will look at in the end."""
        return len(self._few) if any(isinstance(part, _BatchNorm) for part in self.model.module.modules()) else 0

    @property
    def _few(self) -> Tensor:
        """The same ones each time, drawn at random: every so many would leave classes out that come in turn."""
        rows = self.batches.rows
        count = min(len(rows), _LOOKED_AT, max(2 * self.batches.size, _FEWEST))
        drawn = np.random.default_rng(self.batches.seed).choice(len(rows), count, replace=False)
        return rows[torch.from_numpy(drawn).to(rows.device)]

    def _settle(self, model: Model) -> bool:
        """Give a model the averaged weights, and let its batch norms look at some images as they are, if it has any.

        What they remember of the way here is of other weights and smaller images, and of a way of few steps mostly
        where it began.
        """
        if self.average is not None:
            self.average.apply(model.module)
        few = self._few
        parts = few.tensor_split(max(1, len(few) // self.batches.size))  # none smaller than a step
        looked = reestimate_batchnorm(model.module, (model.prepare(self.batches.pixels[part]) for part in parts))
        synchronize(few.device)
        return looked

    def result(self, factor: float, ended: str) -> Training:
        """How the training went that ended at this share of the learning rate, for this reason."""
        size, precision = self.batches.size, self.speed.precision
        return Training(self.steps, self.epoch, size, self.optimiser.name, precision, self.grows, factor, ended)

    def pack(self) -> dict[str, Any]:
        """Tensors and plain values that `unpack` restores."""
        return {
            "network": (self.model.name, self.model.options),
            "grow": self.grows,
            "rule": self.optimiser.name,
            "width": self.width,
            "depth": self.depth,
            "sizes": getattr(self.model.module, "sizes_changed", {}),
            "module": self.model.module.state_dict(),
            "batches": self.batches.state(),
            "optimiser": self.optimiser.state_dict(),
            "average": self.average and self.average.state(),
            "record": self.record and self.record.state(),
            "counts": (self.steps, self.images, self.setbacks),
        }

    def unpack(self, saved: dict[str, Any]) -> None:
        """Go on where `pack` was called: the same network of the same width and depth, the same coming batches."""
        module, tensors = self.model.module, saved["module"]
        resize_tensors(module, {name: tensor.shape for name, tensor in tensors.items()}, saved["sizes"])
        module.load_state_dict(tensors)
        self.batches.restore(saved["batches"])
        self.optimiser.load_state_dict(saved["optimiser"])
        if self.average is not None:
            self.average.restore(saved["average"])
        if self.record is not None:
            self.record.restore(saved["record"])
        self._recorded = saved["record"]
        self.steps, self.images, self.setbacks = saved["counts"]
        self.grows, self.width, self.depth = saved["grow"], saved["width"], saved["depth"]
        if self.blocks is not None:
            self.blocks.deepen(module, self.depth)
        self._measure()
