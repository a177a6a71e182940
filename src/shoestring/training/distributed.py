"""Training by several processes: the first decides before every step what all do, and their gradients are averaged."""

from __future__ import annotations

import copy
import io
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from shoestring.data import load
from shoestring.data.batches import Batches
from shoestring.data.images import Dataset, Images
from shoestring.errors import UserError
from shoestring.growth import Stage
from shoestring.runtime.context import Context
from shoestring.runtime.device import out_of_memory
from shoestring.runtime.distributed import Distributed
from shoestring.training.progress import Progress

_FIRST = "cuda:0"  # the device of the first process, if it is an accelerator


class Shared:
    """The network as each process runs it forward; on the way back its gradients are averaged over all of them."""

    def __init__(self, module: nn.Module, team: Distributed) -> None:
        self._module, self._team = module, team
        self._wrapped: nn.Module | None = None
        self._shapes: list[torch.Size] = []

    def __call__(self, images: Tensor) -> Tensor:
        """Logits of this process's images (B, C, H, W); a network of another width is taken up anew."""
        shapes = [weight.shape for weight in self._module.parameters()]
        if self._wrapped is None or shapes != self._shapes:
            self._wrapped = None  # what the old one keeps of each weight has its old shape, and must go first
            self._wrapped, self._shapes = self._taken_up(images[:2]), shapes
        return self._wrapped(images)

    def _taken_up(self, few: Tensor) -> nn.Module:
        return DistributedDataParallel(
            self._module, process_group=self._team.gradient_group, find_unused_parameters=_some_idle(self._module, few)
        )


def _some_idle(module: nn.Module, few: Tensor) -> bool:
    """Whether some weights have no part in what comes out for a few images, and so will get no gradient."""
    trial = copy.deepcopy(module)
    trial(few).sum().backward()
    return any(weight.requires_grad and weight.grad is None for weight in trial.parameters())


class Lead:
    """The first process's hold on the others: they get its state, and then do each step that it does.

    Without a team, steps are those of the state, and nobody is told. Raises `UserError` when a process cannot take
    part, as where its images are others.
    """

    def __init__(self, state: Progress, images: Images, context: Context) -> None:
        self.state, self.team, self._log = state, context.distributed, context.log
        self._setbacks = state.stepper.setbacks
        if self.team is None:
            return
        self.team.broadcast(("take", _packed(state, images)))
        state.stepper.replay = None  # processes wait for each other in the middle of a step
        with self.team.shared_errors():
            state.stepper.forward = Shared(state.model.module, self.team)

    def step(self, stage: Stage, factor: float, *, fraction: float) -> Tensor | None:
        """`Progress.step` on all processes, in a stage that the state is in already; the loss on this one's images.

        None where memory did not suffice: steps have half of the images from here on.
        """
        if self.team is not None and self.state.stepper.setbacks != self._setbacks:
            self._setbacks = self.state.stepper.setbacks
            self.team.broadcast(("back", _bytes(self.state.pack())))
        if self.team is not None:
            self.team.broadcast(("step", stage, factor, fraction))
            self.team.in_collective = True
        try:
            loss = self.state.step(factor, fraction=fraction)
            if self.team is not None:
                self.team.in_collective = False
            return loss
        except RuntimeError as error:
            size = self.state.batches.size
            if not out_of_memory(error) or (size == 1 and self.team is None):
                raise
            if self.team is not None:
                told = f"{size} images a step do not fit into memory. Take a smaller --batch-size."
                raise UserError(told) from None
        self.state.halve()
        self._log(f"out of memory: going on with {self.state.batches.size} images a step")
        return None


def _packed(state: Progress, images: Images) -> bytes:
    """The state without pixels, and without what only the first process needs; which images it is about."""
    few = copy.copy(state)
    few.batches = few.average = few.record = None  # type: ignore[assignment]
    few.stepper = copy.copy(state.stepper)
    few.stepper.forward = few.stepper.replay = None
    batches = state.batches
    whole = images.at(images.rows)
    about = {"rows": whole.rows, "fingerprint": whole.fingerprint, "augment": batches.augment}
    return _bytes({"state": few, "batches": batches.state(), "device": str(batches.labels.device), **about})


def _bytes(what: Any) -> bytes:
    """Tensors that belong together, as the weights of a network and of its optimiser do, do so still when read."""
    buffer = io.BytesIO()
    torch.save(what, buffer)
    return buffer.getvalue()


class Helper:
    """Every other process: does what the first one tells, until all is done, and leaves no files."""

    def __init__(self, team: Distributed, context: Context) -> None:
        self.team, self.context = team, context
        self._state: Progress | None = None
        self._data: Dataset | None = None
        self._failed: Exception | None = None

    def work(self) -> None:
        """Follow until the first process is done. Raises `UserError` where this one cannot take part."""
        while (word := self.team.receive()) is not None:
            name, *rest = word
            {"load": self._load, "take": self._take, "back": self._back, "step": self._step}[name](*rest)

    def _load(self, arguments: dict[str, Any]) -> None:
        """Load images while the first process goes on; what goes wrong is told when they are needed."""
        self._data = self._failed = self._state = None
        try:
            self._data = load(**arguments)
        except (UserError, OSError) as error:
            self._failed = error

    def _take(self, packed: bytes) -> None:
        """Take part in another training."""
        with self.team.shared_errors():
            told = self._unpacked(packed)
            images, state = self._same(told["rows"], told["fingerprint"]), told["state"]
            state.batches = Batches(
                images,
                state.model.prepare,
                size=len(images),
                augment=told["augment"],
                device=self.context.device,
                part=(self.team.rank, self.team.size),
            )
            state.batches.restore(told["batches"])
            state.stepper.forward = Shared(state.model.module, self.team)
            self._state = state

    def _unpacked(self, packed: bytes) -> dict[str, Any]:
        return torch.load(io.BytesIO(packed), map_location={_FIRST: self.context.device}, weights_only=False)

    def _same(self, rows: Any, fingerprint: str) -> Images:
        """The images of these rows, the very ones that the first process trains on."""
        if self._failed is not None:
            raise self._failed
        assert self._data is not None
        images = self._data.train.at(rows) if rows.max() < len(self._data.train.store) else None
        if images is None or images.fingerprint != fingerprint:
            raise UserError("the images here are not those of the first process: bring the same to every machine.")
        return images

    def _back(self, packed: bytes) -> None:
        assert self._state is not None
        self._state.unpack(self._unpacked(packed))

    def _step(self, stage: Stage, factor: float, fraction: float) -> None:
        assert self._state is not None
        self._state.enter(stage)
        self._state.step(factor, fraction=fraction)
