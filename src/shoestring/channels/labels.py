"""Channel labels: numbers that travel with activations through one forward pass and say which channels must agree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

FROZEN = 0
_REASONS = 100  # so many labels are kept for frozen channels, one for each reason


class Labels:
    """Sets of labels that were found to be the same channel (union-find); those of label 0 are never cut.

    Why a channel is frozen is remembered: the first labels stand for reasons, and all of them are found as label 0.
    """

    def __init__(self) -> None:
        self._parent = np.arange(_REASONS, dtype=np.int64)
        self._reasons = [""]  # that of inputs and outputs needs no words

    def because(self, reason: str) -> Tensor:
        """The label, a scalar, of what is frozen for this reason."""
        if reason not in self._reasons:
            reason = reason if len(self._reasons) < _REASONS - 1 else "they meet one of many things that cannot be cut"
            self._reasons += [reason] if reason not in self._reasons else []
        return torch.tensor(self._reasons.index(reason))

    def why(self, labels: Tensor) -> list[str]:
        """The reasons for which some of these channels are frozen."""
        roots = np.unique(self._roots(compact(labels)[0]))
        return [self._reasons[root] for root in roots[roots < _REASONS] if self._reasons[root]]

    def fresh(self, *shape: int) -> Tensor:
        """New labels, all different."""
        start, count = len(self._parent), int(np.prod(shape))
        self._parent = np.concatenate([self._parent, np.arange(start, start + count)])
        return torch.arange(start, start + count).view(shape)

    def find(self, labels: Tensor) -> Tensor:
        """The smallest label of each label's set, in the same shape."""
        roots = self._roots(labels)
        return torch.from_numpy(np.where(roots < _REASONS, FROZEN, roots))

    def _roots(self, labels: Tensor) -> np.ndarray:
        roots = np.asarray(self._parent[labels.numpy()])
        while not np.array_equal(higher := self._parent[roots], roots):
            roots = np.asarray(higher)
        return roots

    def join(self, one: Tensor, other: Tensor) -> None:
        """Make labels at the same place of two tensors (of shapes that broadcast) the same channel."""
        one, other = compact(*torch.broadcast_tensors(one, other))
        while True:
            low, high = self._roots(one), self._roots(other)
            differ = (low != high) & (np.maximum(low, high) >= _REASONS)  # reasons stay apart
            if not differ.any():
                return
            self._parent[np.maximum(low, high)[differ]] = np.minimum(low, high)[differ]

    def freeze(self, labels: Tensor, reason: str = "") -> None:
        """Never cut these channels."""
        self.join(labels, self.because(reason))

    def varies(self, labels: Tensor, dim: int) -> bool:
        """Whether places along this axis belong to different channels."""
        (labels,) = compact(labels)
        roots = self.find(labels)
        return roots.numel() > 0 and bool((roots != roots.narrow(dim, 0, 1)).any())

    def couple(self, labels: Tensor, dim: int) -> Tensor:
        """Make all places along this axis the same channel; the labels with one place left there."""
        if not labels.shape[dim]:
            return labels
        first = labels.narrow(dim, 0, 1)
        if self.varies(labels, dim):
            self.join(labels, first)
        return first

    def along(self, labels: Tensor, dim: int) -> Tensor:
        """The labels (size of the axis,), all other axes coupled: what one axis of a weight reads must agree."""
        for other in range(labels.ndim):
            if other != dim % labels.ndim:
                labels = self.couple(labels, other)
        return labels.flatten()


def compact(*labels: Tensor) -> list[Tensor]:
    """One place of every axis along which all the tensors only repeat themselves."""
    repeated = [all(one.stride(dim) == 0 for one in labels) for dim in range(labels[0].ndim)]
    index = tuple(slice(0, 1) if again else slice(None) for again in repeated)
    return [one[index] for one in labels]


class Labelled(torch.Tensor):
    """An activation or parameter in a traced pass: an ordinary tensor with a label for every element.

    Labels that only repeat are expanded views, so they cost no memory. A `parameter` has its name and gets labels only
    when something else than a layer uses it.
    """

    tracer: Any
    labels: Tensor | None
    parameter: str | None

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Compute as usual, then let the tracer label the result."""
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
            tracer = next(iter(labelled((args, kwargs)))).tracer
            if tracer.quiet:
                tracer.overhear(func, args)
                return result
            if not any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
                return tracer.tell(func, args, kwargs, result)
            return relabel(result, tracer, tracer.follow(func, args, kwargs, result))


def relabel(result: Any, tracer: Any, labels: Any) -> Any:
    """A result, a tensor or a tuple or list of tensors, with its labels."""
    if isinstance(result, Tensor):
        return label(result, tracer, labels)
    if isinstance(labels, tuple | list) and isinstance(result, tuple | list) and len(labels) == len(result):
        return type(result)(label(part, tracer, own) for part, own in zip(result, labels))
    return tree_map_only(Tensor, lambda part: label(part, tracer, frozen(part)), result)


def frozen(tensor: Tensor, label: Tensor | None = None) -> Tensor:
    """Labels of channels that are never cut, for every element of a tensor; `label` is that of the reason."""
    return (torch.tensor(FROZEN) if label is None else label).expand(tensor.shape)


def label(tensor: Tensor, tracer: Any, labels: Tensor | None, *, parameter: str | None = None) -> Labelled:
    """The tensor itself, labelled."""
    if not isinstance(tensor, Labelled):
        tensor = tensor.as_subclass(Labelled)
        tensor.parameter = parameter
    tensor.tracer, tensor.labels = tracer, labels
    return tensor


def labelled(values: Any) -> Iterable[Labelled]:
    """All labelled tensors in nested arguments or results."""
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, Labelled))
