"""The record of a traced forward pass, which the rules fill in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from shoestring.channels.labels import FROZEN, LabeledTensor, Labels, compact, first_line, frozen_labels
from shoestring.channels.operations import parameter_name
from shoestring.channels.table import Axis
from shoestring.channels.tagged_sizes import AttributeRef, AttributeSize, AxisSize


class TraceRecord:
    """What a traced pass finds out about a module.

    - `axes`: the labels of each axis (tensor name, dimension). `producers` are the axes that create channels, in order;
      `consumers` those whose weights are multiplied with channels; all others pass channels through one by one.
    - `positions`: how often one image uses each weight. `products`: other multiply-accumulates, as (MACs per image, the
      axes that they are proportional to, as labels and dimension).
    - `mixed`: labels of channels that meet statistics or products over channels, so that dropping one differs from
      setting it to zero.
    - `inhomogeneous`: labels of channels that meet anything but layers, batch norms and functions with f(ax) = a f(x)
      for a > 0.
    - `sizes`: integer attributes of modules that were used as axis sizes, as (size, labels, dimension).
    - `computed`: layers whose weights are not parameters. `unused`: parameters that no pass uses. `training_only`:
      parameters used only in training mode.
    - `fixed`: parameters and buffers that keep their shape, with the reason.
    """

    def __init__(self) -> None:
        self.labels = Labels()
        self.axes: dict[Axis, Tensor] = {}
        self.producers: list[Axis] = []
        self.consumers: set[Axis] = set()
        self.positions: dict[str, int] = {}
        self.products: list[tuple[int, list[tuple[Tensor, int]]]] = []
        self.mixed: list[Tensor] = []
        self.inhomogeneous: list[Tensor] = []
        self.sizes: list[tuple[AttributeSize, Tensor, int]] = []
        self.computed: list[str] = []
        self.unused: list[str] = []
        self.training_only: list[str] = []
        self.fixed: dict[str, str] = {}
        self.batch_size = 1
        self._rearranged: list[Tensor] = []
        self._reductions: list[tuple[Tensor, Tensor, bool]] = []
        self._axis_sizes: list[tuple[Tensor, int, AxisSize]] = []
        self._elements: dict[str, Tensor] = {}

    def labels_of(self, tensor: Any) -> Tensor:
        """Return the labels of a tensor: its own, one per element of a parameter, or frozen ones for a constant."""
        if not isinstance(tensor, LabeledTensor):
            return frozen_labels(tensor, self.labels.frozen_label("they are combined with a constant in the code"))
        if tensor.labels is None:
            assert tensor.parameter_name is not None
            if tensor.parameter_name not in self._elements:
                self._elements[tensor.parameter_name] = self.labels.new(*tensor.shape)
            tensor.labels = self._elements[tensor.parameter_name]
        return tensor.labels

    def channels_along(self, tensor: Any, dim: int) -> Tensor:
        """Return the labels (size of the axis,) along one axis, after uniting all other axes."""
        return self.labels.along(self.labels_of(tensor), dim)

    def bind(self, parameter: Any, dim: int, labels: Tensor, *, consumes: bool = False) -> None:
        """Record that an axis of a parameter or buffer (None is ignored) has these labels."""
        if parameter is None:
            return
        axis = (parameter_name(parameter), dim)
        if axis in self.axes:
            self.labels.union(self.axes[axis], labels)
        self.axes.setdefault(axis, labels)
        if consumes:
            self.consumers.add(axis)

    def new_channels(self, weight: Any, bias: Any, dim: int = 0) -> Tensor:
        """Return the labels (outputs,) of the channels a layer produces; a layer used twice produces the same ones."""
        axis = (parameter_name(weight), dim)
        outputs = self.axes.get(axis)
        if outputs is None:
            outputs = self.labels.new(weight.shape[dim])
            self.producers.append(axis)
        self.bind(weight, dim, outputs)
        if bias is not None and len(bias) == len(outputs):
            self.bind(bias, 0, outputs)
        return outputs

    def count_positions(self, weight: Any, result: Tensor, outputs: int) -> None:
        """Add the number of positions per image at which a layer computes its outputs."""
        if name := getattr(weight, "parameter_name", None):
            self.positions[name] = self.positions.get(name, 0) + result.numel() // outputs // self.batch_size

    def count_product(self, macs: int, axes: Iterable[tuple[Tensor, int]]) -> None:
        """Add multiply-accumulates of the whole batch that are proportional to these axes (labels, dimension)."""
        self.products.append((macs // self.batch_size, list(axes)))

    def fix_shape(self, parameter: Any) -> None:
        """Record that this parameter keeps its shape."""
        if name := getattr(parameter, "parameter_name", None):
            self.fixed.setdefault(name, f"'{name}' is applied along an axis other than that of the channels")

    def shrink_one_axis(self, labels: Tensor) -> None:
        """Record that channels were arranged along several axes, of which only the last may change its size."""
        self._rearranged.append(labels)

    def record_sizes(self, labels: Tensor, sizes: Mapping[int, Any]) -> None:
        """Record that the code gives these sizes of axes, by dimension; tagged ones must hold after surgery."""
        for dim, size in sizes.items():
            if isinstance(size, AttributeSize) and self.labels.varies(labels, dim):
                self.sizes.append((size, labels, dim))
            elif isinstance(size, AxisSize):
                self._axis_sizes.append((labels, dim, size))

    def reduced(self, values: Tensor, shape: Iterable[int], *, is_index: bool = False) -> Tensor:
        """Return labels for numbers that all channels (labels `values`) were reduced to.

        The channels are frozen if such a number becomes an output. If it `is_index`, the index of a channel, they are
        frozen wherever that index ends up frozen.
        """
        shape = list(shape)
        own = self.labels.new(*[1] * len(shape)).expand(shape)
        self._reductions.append((own, values, is_index))
        return own

    def freeze_outputs(self, outputs: list[Tensor]) -> None:
        """Freeze the channels of outputs with these labels, and those that outputs were reduced from."""
        roots = [self.labels.find(compact(output)[0]).unique() for output in outputs]
        for reduction, source, _ in self._reductions:
            root = self.labels.find(reduction.flatten()[:1])
            if int(root) != FROZEN and any(bool((own == root).any()) for own in roots):
                self.labels.freeze(source)
        for output in outputs:
            self.labels.freeze(output)

    def apply_constraints(self) -> None:
        """Assign axes to parameters that were used element by element; freeze what cannot change along one axis."""
        for step in range(4):  # applying one of these constraints can affect another
            for labels in self._rearranged:
                for dim in self.labels.varying_dims(labels)[:-1]:
                    self.labels.union_along(labels, dim)
            if step % 2:
                self._unite_equal_sizes()
        for name, labels in self._elements.items():
            dims = self.labels.varying_dims(labels) or ([0] if labels.ndim == 1 else [])
            if name not in self.fixed and len(dims) == 1 and not any(key[0] == name for key in self.axes):
                self.axes[name, dims[0]] = self.labels.along(labels, dims[0])
                continue
            one_axis = f"the shape of '{name}' is fixed"
            reason = f"channels lie along {len(dims)} axes of '{name}'" if len(dims) > 1 else one_axis
            self.labels.freeze(labels, self.fixed.setdefault(name, reason))
        for (name, _), labels in self.axes.items():
            if name in self.fixed:
                self.labels.freeze(labels, self.fixed[name])
        for reduction, source, is_index in self._reductions:
            if is_index and int(self.labels.find(reduction.flatten()[:1])) == FROZEN:
                self.labels.freeze(source, "their indices are used, as those of classes are")

    def _unite_equal_sizes(self) -> None:
        """Unite axes whose size comes from the same number, unless they lose equally many channels anyway."""
        pairs = [(first_line(labels, dim), first_line(size.labels, size.dim)) for labels, dim, size in self._axis_sizes]
        first: dict[AttributeRef, Tensor] = {}
        for size, labels, dim in self.sizes:
            line = first_line(labels, dim)
            pairs.append((line, first.setdefault(size.attribute, line)))
        for own, other in pairs:
            roots, other_roots = (self.labels.find(labels).sort().values for labels in (own, other))
            varies = bool((roots != roots[:1]).any())
            if len(own) == len(other) and varies and not torch.equal(roots, other_roots):
                self.labels.union(own, other)
