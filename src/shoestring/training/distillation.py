"""Distillation: a network learns the predictions of another one beside the labels."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from shoestring.evaluation.cost import count_macs
from shoestring.models.head_modules import class_scores
from shoestring.models.inference import autocast
from shoestring.models.model import Model

_WEIGHT = 0.5  # of the teacher's probabilities; the rest is that of the labels


@dataclass(frozen=True)
class Teacher:
    """A trained network whose probabilities are part of the targets of another one's training.

    It sees the same augmented images as the network in training (Beyer et al. 2022, "Knowledge distillation: A good
    teacher is patient and consistent"), at temperature 1 (Hinton et al. 2015, "Distilling the Knowledge in a Neural
    Network").
    """

    model: Model
    weight: float = _WEIGHT

    @classmethod
    def of(cls, model: Model) -> Teacher:
        """Return a copy of the model as a teacher: the network may be changed in place afterwards."""
        module = copy.deepcopy(model.module).requires_grad_(False).eval()
        return cls(replace(model, module=module))

    @property
    def macs(self) -> float:
        """MACs of one image."""
        return count_macs(self.model)

    def targets(self, images: Tensor, labels: Tensor, *, smoothing: float, precision: str) -> Tensor:
        """Return the probabilities of all alternatives as targets (N, alternatives, ...).

        `images` (N, C, H, W) are prepared; `labels` are indices or probabilities, to which label smoothing is applied.
        If these add up to a weight for each image, so do the targets.
        """
        task = self.model.task
        with torch.no_grad():
            with autocast(images.device, precision):
                outputs = class_scores(self.model.module(images))
            probabilities = task.logits(outputs.float()).softmax(1)
            if labels.shape != probabilities.shape:
                labels = task.targets(labels, len(self.model.classes))
            total = labels.sum(1, keepdim=True)
            smoothed = torch.lerp(labels, total / labels.shape[1], smoothing)
            return torch.lerp(smoothed, total * probabilities, self.weight)
