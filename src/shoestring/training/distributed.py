"""Distributed training: rank 0 decides every step and broadcasts it, and gradients are averaged over all processes."""

from __future__ import annotations

import copy
import io
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from shoestring.data import load
from shoestring.data.batches import Batches
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.growth import Stage
from shoestring.models.head_modules import class_scores
from shoestring.runtime.context import Context
from shoestring.runtime.device import out_of_memory
from shoestring.runtime.distributed import Distributed
from shoestring.training.progress import TrainingState

_RANK_0_DEVICE = "cuda:0"  # of rank 0, if it is an accelerator


class DistributedForward:
    """The forward pass on each process; in the backward pass gradients are averaged over all processes."""

    def __init__(self, module: nn.Module, distributed: Distributed) -> None:
        self._module, self._distributed = module, distributed
        self._wrapped: nn.Module | None = None
        self._shapes: list[torch.Size] = []

    def __call__(self, images: Tensor) -> Any:
        """Outputs for this process's images (B, C, H, W); the network is wrapped again after its width changed."""
        shapes = [weight.shape for weight in self._module.parameters()]
        if self._wrapped is None or shapes != self._shapes:
            self._wrapped = None  # frees the old wrapper's hooks first, which hold tensors of the old shapes
            self._wrapped, self._shapes = self._wrap(images[:2]), shapes
        return self._wrapped(images)

    def _wrap(self, sample: Tensor) -> nn.Module:
        group, unused = self._distributed.gradient_group, _has_unused_parameters(self._module, sample)
        return DistributedDataParallel(self._module, process_group=group, find_unused_parameters=unused)


def _has_unused_parameters(module: nn.Module, sample: Tensor) -> bool:
    """Whether some trainable weights do not affect the output for a sample of images, and so get no gradient."""
    trial = copy.deepcopy(module)
    class_scores(trial(sample)).sum().backward()
    return any(weight.requires_grad and weight.grad is None for weight in trial.parameters())


class Rank0:
    """Rank 0's side of a training: the workers receive its state, and then do each step that it does.

    In a single process, steps are those of `state`. Raises `UserError` if a worker cannot take part, as when its
    images are different.
    """

    def __init__(self, state: TrainingState, images: Images, context: Context) -> None:
        self.state, self.distributed, self._log = state, context.distributed, context.log
        self._rollbacks = state.stepper.rollbacks
        if self.distributed is None:
            return
        self.distributed.broadcast(("start", _pack(state, images)))
        state.stepper.replay = None  # processes wait for each other in the middle of a step
        with self.distributed.shared_errors():
            state.stepper.forward = DistributedForward(state.model.module, self.distributed)

    def step(self, stage: Stage, factor: float, *, fraction: float) -> Tensor | None:
        """Do `TrainingState.step` on all processes, in the stage of `state`; return the loss on this process's images.

        Returns None if the step ran out of memory; the batch size is halved then.
        """
        state, distributed = self.state, self.distributed
        if distributed is not None and state.stepper.rollbacks != self._rollbacks:
            self._rollbacks = state.stepper.rollbacks
            distributed.broadcast(("roll_back", _to_bytes(state.pack())))
        if distributed is not None:
            distributed.broadcast(("step", stage, factor, fraction))
            distributed.in_collective = True
        try:
            loss = state.step(factor, fraction=fraction)
            if distributed is not None:
                distributed.in_collective = False
            return loss
        except RuntimeError as error:
            size = state.batches.size
            if not out_of_memory(error) or (size == 1 and distributed is None):
                raise
            if distributed is not None:
                raise UserError(
                    f"a batch size of {size} does not fit into memory. Use a smaller --batch-size."
                ) from None
        state.halve_batch_size()
        self._log(f"out of memory: continuing with a batch size of {state.batches.size}")
        return None


def _pack(state: TrainingState, images: Images) -> bytes:
    """The state that workers need, without pixels, and which images it belongs to."""
    sent, batches = copy.copy(state), state.batches
    sent.batches = sent.average = sent.record = None  # type: ignore[assignment]
    sent.stepper = copy.copy(state.stepper)
    sent.stepper.forward = sent.stepper.replay = None
    stored = images.at(images.rows)
    source = {"rows": stored.rows, "fingerprint": stored.fingerprint, "shape": stored.shape}
    source |= {"augment": batches.augment, "weights": images.weights}
    return _to_bytes({"state": sent, "batches": batches.state(), "device": str(batches.labels.device), **source})


def _to_bytes(value: Any) -> bytes:
    """Serialize; tensors that are shared, as between a network and its optimizer, are still shared when loaded."""
    buffer = io.BytesIO()
    torch.save(value, buffer)
    return buffer.getvalue()


class Worker:
    """Every process except rank 0: repeats the steps of rank 0 until it is done, and writes no files."""

    def __init__(self, distributed: Distributed, context: Context) -> None:
        self.distributed, self.context = distributed, context
        self._state: TrainingState | None = None
        self._loaded: Images | None = None
        self._images: Images | None = None  # in the size in which rank 0 trains on them
        self._load_error: Exception | None = None
        self._actions = {
            "load": self._load,
            "resize": self._resize,
            "start": self._start,
            "roll_back": self._roll_back,
            "step": self._step,
        }

    def run(self) -> None:
        """Follow rank 0 until it is done. Raises `UserError` if this process cannot take part."""
        while (message := self.distributed.receive()) is not None:
            name, *rest = message
            self._actions[name](*rest)

    def _load(self, arguments: dict[str, Any]) -> None:
        """Load images while rank 0 continues; errors are raised when the images are needed."""
        self._loaded = self._images = self._load_error = self._state = None
        try:
            self._loaded = self._images = load(**arguments).train
        except (UserError, OSError) as error:
            self._load_error = error

    def _resize(self, side: int) -> None:
        """Resize the images while rank 0 continues, which trains on smaller ones as well."""
        if self._loaded is not None:
            self._images = self._loaded.resized(side)

    def _start(self, packed: bytes) -> None:
        """Join another training."""
        with self.distributed.shared_errors():
            message = self._unpack(packed)
            images, state = self._images_like(message).weighted(message["weights"]), message["state"]
            state.batches = Batches(
                images,
                state.model.prepare,
                size=len(images),
                augment=message["augment"],
                device=self.context.device,
                part=(self.distributed.rank, self.distributed.size),
            )
            state.batches.restore(message["batches"])
            state.stepper.forward = DistributedForward(state.model.module, self.distributed)
            self._state = state

    def _unpack(self, packed: bytes) -> dict[str, Any]:
        device = self.context.device
        return torch.load(io.BytesIO(packed), map_location={_RANK_0_DEVICE: device}, weights_only=False)

    def _images_like(self, message: Mapping[str, Any]) -> Images:
        """The images that rank 0 trains on. Raises `UserError` if they differ here."""
        if self._load_error is not None:
            raise self._load_error
        own, rows = self._images, message["rows"]
        assert own is not None
        images = own.at(rows) if rows.max() < len(own.store) else None
        if images is None or (images.fingerprint, images.shape) != (message["fingerprint"], message["shape"]):
            raise UserError("the images here differ from those of rank 0: every machine needs the same images.")
        return images

    def _roll_back(self, packed: bytes) -> None:
        assert self._state is not None
        self._state.unpack(self._unpack(packed))

    def _step(self, stage: Stage, factor: float, fraction: float) -> None:
        assert self._state is not None
        self._state.enter(stage)
        self._state.step(factor, fraction=fraction)
