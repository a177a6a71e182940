"""One forward pass in which every activation carries channel labels; what each operation does to them."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from shoestring.channels.labels import Labelled, Labels, frozen, label, labelled

Axis = tuple[str, int]
Rule = Callable[["Tracer", Any, tuple, dict[str, Any], Tensor], Tensor]


class Unknown(Exception):
    """Raised by a rule that cannot say what happens to the labels; the tracer then freezes them."""


class Tracer:
    """What one traced pass finds out about a module.

    `axes` holds the labels of each axis (tensor name, dimension); `producers` the weights that create channels, in
    order; `positions` how often an image uses each weight; `notes` the operations without a rule that cost channels.
    """

    def __init__(self, module: nn.Module, rules: Mapping[str, Rule]) -> None:
        self.labels = Labels()
        self.axes: dict[Axis, Tensor] = {}
        self.producers: list[str] = []
        self.positions: dict[str, int] = {}
        self.notes: list[str] = []
        self._elements: dict[str, Tensor] = {}
        self._fixed: set[str] = set()
        self._batch = 1
        self._module = copy.deepcopy(module).eval()  # a module may keep what it computes
        self._rules = rules

    def run(self, example: Tensor) -> None:
        """Trace the forward pass of `example` (N, C, H, W) in evaluation mode."""
        self._batch = len(example)
        named = dict(self._module.named_parameters()) | dict(self._module.named_buffers())
        state: dict[str, Tensor] = {name: label(t.detach(), self, None, parameter=name) for name, t in named.items()}
        image = label(example.detach(), self, frozen(example))
        with torch.no_grad():
            result = torch.func.functional_call(self._module, state, (image,))
        for output in labelled(result):
            self.labels.freeze(self.of(output))
        self._settle()

    def follow(self, func: Any, args: tuple, kwargs: dict[str, Any], result: Tensor) -> Tensor:
        """The labels of an operation's result."""
        self._count(func, args, result)
        rule = self._rules.get(_name(func))
        try:
            if rule is not None:
                return rule(self, func, args, kwargs, result)
        except (Unknown, TypeError, LookupError):  # the others: called in a form that the rule does not know
            pass
        self.give_up(func, args, kwargs)
        return frozen(result)

    def give_up(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        """Freeze whatever this operation takes in, and note its name when that costs any channels."""
        for tensor in labelled((args, kwargs)):
            if tensor.parameter is not None and tensor.labels is None:
                self._fixed.add(tensor.parameter)
            elif self.labels.freeze(self.of(tensor)) and _name(func) not in self.notes:
                self.notes.append(_name(func))

    def of(self, tensor: Any) -> Tensor:
        """The labels of a tensor: its own, a parameter's one per element, a constant's frozen ones."""
        if not isinstance(tensor, Labelled):
            return frozen(tensor)
        if tensor.labels is None:
            assert tensor.parameter is not None
            if tensor.parameter not in self._elements:
                self._elements[tensor.parameter] = self.labels.fresh(*tensor.shape)
            tensor.labels = self._elements[tensor.parameter]
        return tensor.labels

    def channels(self, tensor: Any, dim: int) -> Tensor:
        """The labels along the channel axis, where they change along no other axis."""
        found = self.labels.along(self.of(tensor), dim)
        if found is None:
            raise Unknown
        return found

    def owner(self, parameter: Any) -> nn.Module:
        """The module that holds a parameter or buffer."""
        return self._module.get_submodule(name_of(parameter).rpartition(".")[0])

    def bind(self, parameter: Any, dim: int, labels: Tensor) -> None:
        """Note that an axis of a parameter or buffer (or of None) has these labels."""
        if parameter is None:
            return
        axis = (name_of(parameter), dim)
        if axis in self.axes:
            self.labels.join(self.axes[axis], labels)
        self.axes.setdefault(axis, labels)

    def produce(self, weight: Any, bias: Any) -> Tensor:
        """The labels (outputs,) of a layer's new channels; a layer used twice makes the same channels again."""
        name = name_of(weight)
        outputs = self.axes.get((name, 0))
        if outputs is None:
            outputs = self.labels.fresh(len(weight))
            self.producers.append(name)
        self.bind(weight, 0, outputs)
        self.bind(bias, 0, outputs)
        return outputs

    def _count(self, func: Any, args: tuple, result: Tensor) -> None:
        """Add the positions of one image at which a convolution or linear layer computes an output."""
        if _name(func) in ("conv2d", "linear") and len(args) > 1 and getattr(args[1], "parameter", None):
            name, positions = args[1].parameter, result.numel() // len(args[1]) // self._batch
            self.positions[name] = self.positions.get(name, 0) + positions

    def _settle(self) -> None:
        """Give parameters that were used element by element their axes; freeze what cannot be cut along one axis."""
        for name, labels in self._elements.items():
            dims = [dim for dim in range(labels.ndim) if labels.ndim == 1 or self.labels.varies(labels, dim)]
            line = self.labels.along(labels, dims[0]) if len(dims) == 1 else None
            if line is None or any(key[0] == name for key in self.axes):
                self.labels.freeze(labels)
                self._fixed.add(name)
            else:
                self.axes[name, dims[0]] = line
        for (name, _), labels in self.axes.items():
            if name in self._fixed:
                self.labels.freeze(labels)


def name_of(tensor: Any) -> str:
    """The name of a parameter or buffer itself; `Unknown` for anything computed."""
    name = getattr(tensor, "parameter", None)
    if name is None:
        raise Unknown
    return name


def _name(operation: Any) -> str:
    return getattr(operation, "__name__", str(operation))
