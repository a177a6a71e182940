"""Shuffled, augmented batches from bytes, on the device or in a memory map: no worker processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from shoestring.data.augment import Augment, cut_out, gather, mix, offsets, tint, turn
from shoestring.data.images import Images


@dataclass(frozen=True)
class Batch:
    """One training step's images: which they are (B,), pixels (B, C, H, W), labels (B,) or their shares (B, classes).

    Where images have weights, the shares of each add up to its weight.

    `weight` is what the mean over them counts in the mean over the equally many batches that are parts of one step.
    """

    index: Tensor
    images: Tensor
    labels: Tensor
    weight: float = 1.0


def on_device(pixels: NDArray[np.uint8], device: str) -> Tensor:
    """Pixels (N, H, W, C) as a tensor on the device; on the CPU without a copy where that is possible."""
    if not pixels.flags.writeable and device == "cpu":
        pixels = np.array(pixels)
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(device)


def _resident(images: Images, device: str) -> tuple[Tensor, Tensor]:
    """Bytes (M, H, W, C) on the device, and which of them the images are (N,).

    On the CPU they are the store of the images itself: a memory map larger than the memory is read, never copied.
    """
    if device != "cpu":
        return on_device(images.pixels, device), torch.arange(len(images), device=device)
    return on_device(images.store, device), torch.from_numpy(images.rows)


class Batches:
    """An endless stream in which every image comes once an epoch; batches run across the epochs' borders.

    `prepare(pixels, resolution=)` makes floats (B, C, R, R) of bytes (B, H, W, C), as `Model.prepare` does. The stream
    can be stopped and continued: see `state`. With `part` (which, of how many) every batch is that part of one of
    `size` images; all parts together are what one stream without parts gives, but for random changes of the images.
    """

    def __init__(
        self,
        images: Images,
        prepare: Callable[..., Tensor],
        *,
        size: int,
        augment: Augment,
        device: str = "cpu",
        seed: int = 0,
        part: tuple[int, int] = (0, 1),
    ) -> None:
        self.pixels, self.rows = _resident(images, device)
        self.labels = torch.from_numpy(np.array(images.targets)).to(device)
        self.classes = len(images.classes)
        weights = images.weights
        self.weights = None if weights is None else torch.from_numpy(weights).to(device)
        self.prepare, self.size, self.augment = prepare, min(size, len(images)), augment
        self.seed, self.part = seed, part
        self.generator = torch.Generator(device).manual_seed(seed)  # of the order, which all parts share
        self.changes = torch.Generator(device)
        self.first = torch.rand(len(images), generator=self.generator, device=device) < 0.5
        self.order = self._shuffled()
        self.position = 0
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.labels)

    def draw(self, *, resolution: int | None = None, crop: int | None = None, progress: float = 0.0) -> Batch:
        """The next batch, scaled to this resolution; or unscaled crops of so many pixels a side at random places.

        Its images are changed as is due when the share `progress` of the training is over.
        """
        index, mirrored = self._next()
        which, parts = self.part
        index, mirrored = index[which::parts], mirrored[which::parts]
        self.changes.manual_seed(self._drawn())
        _, height, width, _ = self.pixels.shape
        change = self.augment.at(progress)
        tall, wide = (crop or height), (crop or width)
        taken = gather(
            self.pixels,
            self.rows[index],
            mirrored=mirrored,
            rows=offsets(len(index), height, tall, round(change.shift * height), self.changes),
            columns=offsets(len(index), width, wide, round(change.shift * width), self.changes),
        )
        floats = self.prepare(taken, resolution=crop or resolution)
        floats = tint(floats, change.jitter, self.changes)
        floats = turn(floats, change.rotate, change.zoom, self.changes)
        floats = cut_out(floats, round(change.cutout * floats.shape[-1]), self.changes)
        labels = self.labels[index]
        if self.weights is not None:
            labels = functional.one_hot(labels, self.classes) * self.weights[index, None]
        if self.augment.mixup:
            shares = labels if labels.ndim == 2 else functional.one_hot(labels, self.classes).float()
            floats, labels = mix(floats, shares, change.mixup, self.changes)
        return Batch(index, floats, labels, len(index) * parts / self.size)

    def peek(self, size: int) -> Batch:
        """The next batch, if it were of this size; it stays the next."""
        before = self.state()
        self.size = size
        batch = self.draw()
        self.restore(before)
        return batch

    def _drawn(self) -> int:
        """A seed of its own for every batch of every part, so that a stream goes on the same from where it stands."""
        place = [self.seed % 2**64, self.part[0], self.epoch, self.position]
        return int(np.random.SeedSequence(place).generate_state(1)[0])

    def _next(self) -> tuple[Tensor, Tensor]:
        """Which images come next, and which of them are mirrored."""
        parts, flips, missing = [], [], self.size
        while missing:
            if self.position == len(self.order):
                self.order, self.position, self.epoch = self._shuffled(), 0, self.epoch + 1
            part = self.order[self.position : self.position + missing]
            self.position += len(part)
            missing -= len(part)
            parts.append(part)
            flips.append(self.first[part] ^ bool(self.epoch % 2))
        index = torch.cat(parts)
        mirrored = torch.cat(flips) if self.augment.flip else torch.zeros_like(index, dtype=torch.bool)
        return index, mirrored

    def _shuffled(self) -> Tensor:
        return torch.randperm(len(self), generator=self.generator, device=self.generator.device)

    def state(self) -> dict[str, Any]:
        """What `restore` needs to go on with exactly the same batches."""
        return {
            "generator": self.generator.get_state(),
            "first": self.first,
            "order": self.order,
            "position": self.position,
            "epoch": self.epoch,
            "size": self.size,
            "seed": self.seed,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.generator.set_state(state["generator"].cpu())
        device = self.pixels.device
        self.first, self.order = state["first"].to(device), state["order"].to(device)
        self.position, self.epoch = state["position"], state["epoch"]
        self.size, self.seed = state["size"], state["seed"]
