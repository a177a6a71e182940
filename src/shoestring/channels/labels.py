"""Channel labels: integers that travel with activations through one forward pass and record which channels agree."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map_only

FROZEN = 0
_MAX_REASONS = 100  # labels reserved for frozen channels, one per reason


class Labels:
    """Union-find over channel labels; labels in the set of label 0 are frozen: never pruned or widened.

    The first labels are reserved for the reasons for freezing. `find` maps all of them to label 0.
    """

    def __init__(self) -> None:
        self._parent = np.arange(_MAX_REASONS, dtype=np.int64)
        self._reasons = [""]  # inputs and outputs need no explanation

    def frozen_label(self, reason: str) -> Tensor:
        """Return the label (a scalar) for channels that are frozen for this reason."""
        if reason not in self._reasons:
            reason = reason if len(self._reasons) < _MAX_REASONS - 1 else "too many different reasons to list"
            self._reasons += [reason] if reason not in self._reasons else []
        return torch.tensor(self._reasons.index(reason))

    def reasons(self, labels: Tensor) -> list[str]:
        """Return the reasons why some of these labels are frozen."""
        roots = np.unique(self._roots(compact(labels)[0]))
        return [self._reasons[root] for root in roots[roots < _MAX_REASONS] if self._reasons[root]]

    def new(self, *shape: int) -> Tensor:
        """Return new labels of this shape, all different."""
        start, count = len(self._parent), int(np.prod(shape))
        self._parent = np.concatenate([self._parent, np.arange(start, start + count)])
        return torch.arange(start, start + count).view(shape)

    def find(self, labels: Tensor) -> Tensor:
        """Return the smallest label of each label's set, in the same shape."""
        roots = self._roots(labels)
        return torch.from_numpy(np.where(roots < _MAX_REASONS, FROZEN, roots))

    def _roots(self, labels: Tensor) -> np.ndarray:
        roots = np.asarray(self._parent[labels.numpy()])
        while not np.array_equal(parents := self._parent[roots], roots):
            roots = np.asarray(parents)
        return roots

    def union(self, first: Tensor, second: Tensor) -> None:
        """Make the labels at the same position of two tensors (broadcast against each other) the same channel."""
        first, second = compact(*torch.broadcast_tensors(first, second))
        while True:
            low, high = self._roots(first), self._roots(second)
            differ = (low != high) & (np.maximum(low, high) >= _MAX_REASONS)  # reasons are never merged
            if not differ.any():
                return
            self._parent[np.maximum(low, high)[differ]] = np.minimum(low, high)[differ]

    def freeze(self, labels: Tensor, reason: str = "") -> None:
        """Never prune or widen these channels."""
        self.union(labels, self.frozen_label(reason))

    def varies(self, labels: Tensor, dim: int) -> bool:
        """Return whether the positions along this axis belong to different channels."""
        (labels,) = compact(labels)
        roots = self.find(labels)
        return roots.numel() > 0 and bool((roots != roots.narrow(dim, 0, 1)).any())

    def varying_dims(self, labels: Tensor) -> list[int]:
        """Return the axes along which the channels vary."""
        return [dim for dim in range(labels.ndim) if self.varies(labels, dim)]

    def union_along(self, labels: Tensor, dim: int) -> Tensor:
        """Make all positions along this axis the same channel, and return the labels with size 1 there."""
        if not labels.shape[dim]:
            return labels
        first = labels.narrow(dim, 0, 1)
        if self.varies(labels, dim):
            self.union(labels, first)
        return first

    def along(self, labels: Tensor, dim: int) -> Tensor:
        """Return the labels along one axis (size of the axis,), after uniting them along all other axes."""
        for other in range(labels.ndim):
            if other != dim % labels.ndim:
                labels = self.union_along(labels, other)
        return labels.flatten()


def compact(*labels: Tensor) -> list[Tensor]:
    """Reduce to size 1 every axis along which all the tensors are expanded (stride 0)."""
    expanded = [all(one.stride(dim) == 0 for one in labels) for dim in range(labels[0].ndim)]
    index = tuple(slice(0, 1) if repeats else slice(None) for repeats in expanded)
    return [one[index] for one in labels]


def first_line(labels: Tensor, dim: int) -> Tensor:
    """Return the labels along one axis, at index 0 of all others."""
    return labels.movedim(dim, 0).flatten(1)[:, 0] if labels.ndim > 1 else labels


class LabeledTensor(torch.Tensor):
    """An activation, parameter or buffer in a traced pass: an ordinary tensor with one label per element.

    Repeated labels are expanded views, so they take no memory. `parameter_name` is the name of a parameter or buffer,
    which gets labels only when something other than a layer uses it.
    """

    tracer: Any
    labels: Tensor | None
    parameter_name: str | None

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: tuple = (), kwargs: dict | None = None) -> Any:
        """Compute as usual, then let the tracer label the result."""
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            result = func(*args, **kwargs)
            tracer = next(iter(labeled_tensors((args, kwargs)))).tracer
            if tracer.inside_opaque_layer:
                tracer.observe(func, args)
                return result
            if not any(isinstance(leaf, Tensor) for leaf in tree_leaves(result)):
                return tracer.process_value(func, args, kwargs, result)
            return label_result(result, tracer, tracer.propagate(func, args, kwargs, result))


def label_result(result: Any, tracer: Any, labels: Any) -> Any:
    """Attach labels to a result, which is a tensor or a nested structure of tensors."""
    if isinstance(result, Tensor):
        return attach_labels(result, tracer, labels)
    if isinstance(labels, tuple | list) and isinstance(result, tuple | list) and len(labels) == len(result):
        return type(result)(attach_labels(part, tracer, own) for part, own in zip(result, labels))
    return tree_map_only(Tensor, lambda part: attach_labels(part, tracer, frozen_labels(part)), result)


def frozen_labels(tensor: Tensor, label: Tensor | None = None) -> Tensor:
    """Return frozen labels for every element of a tensor; `label` is the one of the reason."""
    return (torch.tensor(FROZEN) if label is None else label).expand(tensor.shape)


def attach_labels(
    tensor: Tensor, tracer: Any, labels: Tensor | None, *, parameter_name: str | None = None
) -> LabeledTensor:
    """Return the same tensor as a `LabeledTensor`."""
    if not isinstance(tensor, LabeledTensor):
        tensor = tensor.as_subclass(LabeledTensor)
        tensor.parameter_name = parameter_name
    tensor.tracer, tensor.labels = tracer, labels
    return tensor


def labeled_tensors(values: Any) -> Iterable[LabeledTensor]:
    """Iterate over all labeled tensors in nested arguments or results."""
    return (leaf for leaf in tree_leaves(values) if isinstance(leaf, LabeledTensor))
