"""Tasks: what the labels of images say, and what follows for loss, probabilities and predictions.

Either task is a choice between alternatives: for each image between all classes (`SINGLE_LABEL`), or for each label of
an image between absent and present (`MULTI_LABEL`). Axis 1 of logits, targets and log-probabilities holds the
alternatives, so that the same cross-entropy, softmax, mixup and temperature serve both tasks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from shoestring.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

THRESHOLD = 0.5  # probability from which a label is predicted


class Task(ABC):
    """What the labels of images say. Tasks have no state: those of the same type are equal."""

    name: ClassVar[str]
    noun: ClassVar[str]  # what an image has, in messages
    nouns: ClassVar[str]

    @abstractmethod
    def counts(self, labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
        """Return the number of images with each class or label (classes,)."""

    @abstractmethod
    def has(self, labels: NDArray[np.int64], index: int) -> NDArray[np.bool_]:
        """Return which images (N,) have the class or label with this index."""

    @abstractmethod
    def logits(self, outputs: Tensor) -> Tensor:
        """Return the logits of all alternatives (N, alternatives, ...) from outputs of a network (N, classes)."""

    @abstractmethod
    def targets(self, labels: Tensor, classes: int) -> Tensor:
        """Return the probabilities of all alternatives (N, alternatives, ...) from labels."""

    @abstractmethod
    def scores(self, log_probabilities: Tensor) -> Tensor:
        """Return scores (N, classes), which lose no precision, from those of all alternatives."""

    @abstractmethod
    def log_probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the log-probabilities (N, classes) from scores."""

    @abstractmethod
    def predictions(self, probabilities: NDArray[np.float32], classes: NDArray[Any]) -> NDArray[Any]:
        """Return what is predicted for each image, given the names of the classes."""

    def loss(self, outputs: Tensor, labels: Tensor, *, smoothing: float = 0.0, weighted: bool = False) -> Tensor:
        """Return the mean cross-entropy of outputs (N, classes) and labels, or the probabilities of alternatives.

        With `weighted`, the probabilities of the alternatives add up to the weight of each choice.
        """
        import torch
        from torch.nn import functional

        if weighted:  # smoothing is weighted as well: an image of weight zero has no effect
            mean = labels.mean(1, keepdim=True).expand_as(labels)
            labels, smoothing = torch.lerp(labels, mean, smoothing), 0.0
        return functional.cross_entropy(self.logits(outputs), labels, label_smoothing=smoothing)


@dataclass(frozen=True)
class SingleLabel(Task):
    """One class for each image: labels are class indices (N,), scores log-probabilities, predictions names (N,)."""

    name: ClassVar[str] = "single-label"
    noun: ClassVar[str] = "class"
    nouns: ClassVar[str] = "classes"

    def counts(self, labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
        """Return the number of images of each class (classes,)."""
        return np.bincount(labels, minlength=classes)

    def has(self, labels: NDArray[np.int64], index: int) -> NDArray[np.bool_]:
        """Return which images (N,) are of this class."""
        return labels == index

    def logits(self, outputs: Tensor) -> Tensor:
        """Return the outputs: they are the logits of the classes."""
        return outputs

    def targets(self, labels: Tensor, classes: int) -> Tensor:
        """Return one-hot rows (N, classes)."""
        from torch.nn import functional

        return functional.one_hot(labels, classes).float()

    def scores(self, log_probabilities: Tensor) -> Tensor:
        """Return the log-probabilities."""
        return log_probabilities

    def log_probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the scores."""
        return scores

    def predictions(self, probabilities: NDArray[np.float32], classes: NDArray[Any]) -> NDArray[Any]:
        """Return the most probable class of each image (N,)."""
        return classes[probabilities.argmax(1)]


@dataclass(frozen=True)
class MultiLabel(Task):
    """Any number of labels for each image: labels are 0 or 1 (N, classes), and so are predictions; scores are log-odds.

    Each label is a choice of its own between absent and present: its loss is the binary cross-entropy.
    """

    name: ClassVar[str] = "multi-label"
    noun: ClassVar[str] = "label"
    nouns: ClassVar[str] = "labels"

    def counts(self, labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
        """Return the number of images with each label (classes,)."""
        return labels.reshape(-1, classes).sum(0)

    def has(self, labels: NDArray[np.int64], index: int) -> NDArray[np.bool_]:
        """Return which images (N,) have this label."""
        return labels[:, index] > 0

    def logits(self, outputs: Tensor) -> Tensor:
        """Return the logits (N, 2, classes) of absent, which is zero, and present."""
        import torch

        return torch.stack([torch.zeros_like(outputs), outputs], 1)

    def targets(self, labels: Tensor, classes: int) -> Tensor:
        """Return the probabilities (N, 2, classes) of absent and present."""
        from torch.nn import functional

        return functional.one_hot(labels, 2).movedim(-1, 1).float()

    def scores(self, log_probabilities: Tensor) -> Tensor:
        """Return the log-odds of the labels: the logarithm of a probability near one would be rounded to zero."""
        return log_probabilities[:, 1] - log_probabilities[:, 0]

    def log_probabilities(self, scores: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the log-probabilities of the labels, which do not exclude each other."""
        return -np.logaddexp(np.float32(0), -scores)

    def predictions(self, probabilities: NDArray[np.float32], classes: NDArray[Any]) -> NDArray[np.int64]:
        """Return 1 for each label of at least 50 % (N, classes), otherwise 0."""
        return (probabilities >= THRESHOLD).astype(np.int64)


SINGLE_LABEL, MULTI_LABEL = SingleLabel(), MultiLabel()
_TASKS: dict[str, Task] = {task.name: task for task in (SINGLE_LABEL, MULTI_LABEL)}


def task_of(labels: NDArray[np.int64] | None) -> Task:
    """Return the task that labels (N,) or (N, classes) belong to; that of a single label for images without labels."""
    return MULTI_LABEL if labels is not None and labels.ndim == 2 else SINGLE_LABEL


def find_task(name: Any) -> Task:
    """Return the task of this name. Raises `ValueError` if there is none."""
    if not isinstance(name, str) or name not in _TASKS:
        raise ValueError(f"task must be {' or '.join(_TASKS)}, not {name!r}.")
    return _TASKS[name]


def check_same_task(task: Task, owner: str, other: Task, name: str) -> None:
    """Raise `UserError` if one has one class for each image, and the other any number of labels."""
    if task == other:
        return
    kinds = {SINGLE_LABEL: "one class for each image", MULTI_LABEL: "several labels for each image (0 or 1)"}
    raise UserError(f"{name} have {kinds[other]}, and {owner} {kinds[task]}: both must be alike.")
