"""Shuffled, augmented batches of uint8 pixels, on the device or in a memory map, without worker processes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from shoestring.data.augment import Augment, color_jitter, cutout, gather_pixels, mixup, random_windows, rotate_and_zoom
from shoestring.data.images import Images


@dataclass(frozen=True)
class Batch:
    """A training batch: image indices (B,), images (B, C, H, W), and labels or probabilities of their alternatives.

    In place of images, it holds the outputs (B, ...) of the frozen part of a network where these were computed before.
    Labels are (B,) or (B, classes), and probabilities (B, alternatives, ...), as `shoestring.tasks` says; those of an
    image with a training weight sum to that weight. If the batch is one process's part of a distributed batch, `weight`
    is that of its mean in the average over the parts.
    """

    index: Tensor
    images: Tensor
    labels: Tensor
    weight: float = 1.0


def on_device(pixels: NDArray[np.uint8], device: str) -> Tensor:
    """Return pixels (N, H, W, C) as a tensor on the device; on the CPU without a copy if possible."""
    if not pixels.flags.writeable and device == "cpu":
        pixels = np.array(pixels)
    return torch.from_numpy(np.ascontiguousarray(pixels)).to(device)


def _resident(images: Images, device: str) -> tuple[Tensor, Tensor]:
    """Return pixels (M, H, W, C) on the device, and the rows of the images in them (N,).

    On the CPU, the pixels are the images' own store: a memory map larger than the memory is never copied.
    """
    if device != "cpu":
        return on_device(images.pixels, device), torch.arange(len(images), device=device)
    return on_device(images.store, device), torch.from_numpy(images.rows)


class Batches:
    """An endless stream with every image once per epoch; batches may span two epochs.

    `prepare(pixels, resolution=)` converts uint8 (B, H, W, C) to floats (B, C, R, R), as `Model.prepare` does. `state`
    and `restore` resume a stream. With `part=(index, count)`, every batch is that part of one of `size` images; all
    parts together are the batches of a stream without parts, except for random augmentation.
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
        self.task, self.classes = images.task, len(images.classes)
        weights = images.weights
        self.weights = None if weights is None else torch.from_numpy(weights).to(device)
        self.prepare, self.size, self.augment = prepare, min(size, len(images)), augment
        self.seed, self.part = seed, part
        self.generator = torch.Generator(device).manual_seed(seed)  # of the order, the same for all parts
        self.augment_generator = torch.Generator(device)
        self.first = torch.rand(len(images), generator=self.generator, device=device) < 0.5  # mirrored in epoch 0
        self.order = self._shuffled()
        self.position = 0
        self.epoch = 0
        self.outputs: Tensor | None = None  # (V, N, ...) of a frozen part for V views of each image, in place of images

    def __len__(self) -> int:
        return len(self.labels)

    def draw(self, *, resolution: int | None = None, crop: int | None = None, progress: float = 0.0) -> Batch:
        """Return the next batch, resized to `resolution`, or random crops of `crop` pixels without resizing.

        Augmentation is that at the fraction `progress` of training.
        """
        index, epochs = self._next_indices()
        part, parts = self.part
        index, epochs = index[part::parts], epochs[part::parts]
        generator = self.augment_generator.manual_seed(self._batch_seed())
        augment = self.augment.at(progress)
        if self.outputs is None:
            images = self._augmented(index, epochs, augment, generator, resolution=resolution, crop=crop)
        else:
            images = self.outputs[epochs % len(self.outputs), index]
            if images.ndim == 4:
                images = images.contiguous(memory_format=torch.channels_last)
        labels = self.labels[index]
        if self.weights is not None or self.augment.mixup:
            labels = self.task.targets(labels, self.classes)
        if self.weights is not None:
            labels = labels * self.weights[index, None]
        if self.augment.mixup:
            images, labels = mixup(images, labels, augment.mixup, generator)
        return Batch(index, images, labels, len(index) * parts / self.size)

    def view(self, index: Tensor, number: int) -> Tensor:
        """Return the images (B, C, H, W) at these indices in one of their augmented views, always the same one.

        View 0 is mirrored as in the first epoch, view 1 as in the second, and so on.
        """
        seeds = [self.seed % 2**64, number, int(index[0])]
        generator = self.augment_generator.manual_seed(int(np.random.SeedSequence(seeds).generate_state(1)[0]))
        return self._augmented(index, torch.full_like(index, number), self.augment.at(0.0), generator)

    def _augmented(
        self,
        index: Tensor,
        epochs: Tensor,
        augment: Augment,
        generator: torch.Generator,
        *,
        resolution: int | None = None,
        crop: int | None = None,
    ) -> Tensor:
        """Images (B, C, R, R) at these indices with all augmentation but mixup, mirrored by the epoch of each."""
        flips = self.first[index] ^ (epochs % 2).bool()
        mirrored = flips if self.augment.flip else torch.zeros_like(index, dtype=torch.bool)
        _, height, width, _ = self.pixels.shape
        pixels = gather_pixels(
            self.pixels,
            self.rows[index],
            mirrored=mirrored,
            rows=random_windows(len(index), height, crop or height, round(augment.shift * height), generator),
            columns=random_windows(len(index), width, crop or width, round(augment.shift * width), generator),
        )
        images = self.prepare(pixels, resolution=crop or resolution)
        images = color_jitter(images, augment.jitter, generator)
        images = rotate_and_zoom(images, augment.rotate, augment.zoom, generator)
        return cutout(images, round(augment.cutout * images.shape[-1]), generator)

    def peek(self, size: int) -> Batch:
        """Return the next batch as if it were of this size, without advancing the stream."""
        before = self.state()
        self.size = size
        batch = self.draw()
        self.restore(before)
        return batch

    def _batch_seed(self) -> int:
        """Return a seed for this batch of this part, which depends on the position only, so that streams can resume."""
        position = [self.seed % 2**64, self.part[0], self.epoch, self.position]
        return int(np.random.SeedSequence(position).generate_state(1)[0])

    def _next_indices(self) -> tuple[Tensor, Tensor]:
        """Return the indices of the next images, and the epoch that each belongs to."""
        parts, epochs, missing = [], [], self.size
        while missing:
            if self.position == len(self.order):
                self.order, self.position, self.epoch = self._shuffled(), 0, self.epoch + 1
            part = self.order[self.position : self.position + missing]
            self.position += len(part)
            missing -= len(part)
            parts.append(part)
            epochs.append(torch.full_like(part, self.epoch))
        return torch.cat(parts), torch.cat(epochs)

    def _shuffled(self) -> Tensor:
        return torch.randperm(len(self), generator=self.generator, device=self.generator.device)

    def state(self) -> dict[str, Any]:
        """Return what `restore` needs to continue with exactly the same batches."""
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
        """Continue where `state` was taken."""
        self.generator.set_state(state["generator"].cpu())
        device = self.pixels.device
        self.first, self.order = state["first"].to(device), state["order"].to(device)
        self.position, self.epoch = state["position"], state["epoch"]
        self.size, self.seed = state["size"], state["seed"]
