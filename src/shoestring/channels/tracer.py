"""One forward pass in which every activation carries channel labels; what each operation does to them."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from shoestring.channels.labels import Labelled, Labels, frozen, label, labelled

Axis = tuple[str, int]
Rule = Callable[..., Any]
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


class Unknown(Exception):
    """Raised by a rule that cannot say what happens to the labels; the tracer then freezes them."""


class Rules:
    """Rules by the names of the operations that they are for: `@rule("conv1d conv2d")` above a function adds it."""

    def __init__(self) -> None:
        self.by_name: dict[str, Rule] = {}

    def __call__(self, names: str) -> Callable[[Rule], Rule]:
        """Register the function below for these names."""

        def register(function: Rule) -> Rule:
            self.by_name |= dict.fromkeys(names.split(), function)
            return function

        return register


class Tracer:
    """What one traced pass finds out about a module.

    `axes` holds the labels of each axis (tensor name, dimension): `producers` are those that create channels, in
    order, `readers` those whose weights are multiplied with channels; the others pass them on one by one. `positions`
    says how often an image uses each weight. Channels that are `mixed` meet statistics or products over channels, so
    that to drop one is not the same as to silence it; `bent` ones meet more than layers, batch norms and functions f
    with f(ax) = a f(x) for a > 0. `sizes` are numbers of channels in a module's own code: (module, number, labels,
    dimension). `notes` names the operations without a rule that cost channels.
    """

    def __init__(self, module: nn.Module, rules: Mapping[str, Rule]) -> None:
        self.labels = Labels()
        self.axes: dict[Axis, Tensor] = {}
        self.producers: list[Axis] = []
        self.readers: set[Axis] = set()
        self.positions: dict[str, int] = {}
        self.mixed: list[Tensor] = []
        self.bent: list[Tensor] = []
        self.sizes: list[tuple[str, int, Tensor, int]] = []
        self.notes: list[str] = []
        self.quiet = False
        self._plain = False
        self._regrouped: list[Tensor] = []
        self._elements: dict[str, Tensor] = {}
        self._fixed: set[str] = set()
        self._inside: list[str] = []
        self._batch = 1
        self._module = copy.deepcopy(module).eval()  # a module may keep what it computes
        saved = module.state_dict(keep_vars=True)
        self._fixed |= {name for name, _ in module.named_buffers() if name not in saved}  # would not be saved cut
        self._rules = rules

    def run(self, example: Tensor) -> None:
        """Trace the forward pass of `example` (N, C, H, W) in evaluation mode."""
        self._batch = len(example)
        named = dict(self._module.named_parameters()) | dict(self._module.named_buffers())
        state: dict[str, Tensor] = {name: label(t.detach(), self, None, parameter=name) for name, t in named.items()}
        for name, child in self._module.named_modules():
            self._follow_module(name, child)
        image = label(example.detach(), self, frozen(example))
        with torch.no_grad():
            result = torch.func.functional_call(self._module, state, (image,))
        for output in labelled(result):
            self.labels.freeze(self.of(output))
        self._settle()

    def follow(self, func: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> Any:
        """The labels of an operation's result: a tensor, or as many tensors as the result has."""
        rule = self._rules.get(operation(func))
        if rule is not None:
            with contextlib.suppress(Exception):  # called in a form that the rule does not know
                return rule(self, func, result, *args, **kwargs)
        self.give_up(func, args, kwargs)
        return frozen(result) if isinstance(result, Tensor) else None

    def give_up(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        """Freeze whatever this operation takes in, and note its name when that costs any channels."""
        for tensor in labelled((args, kwargs)):
            if tensor.parameter is not None and tensor.labels is None:
                self._fixed.add(tensor.parameter)
            elif self.labels.freeze(self.of(tensor)) and operation(func) not in self.notes:
                self.notes.append(operation(func))

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
        """The labels along one axis, which all places along the other axes must share from now on."""
        return self.labels.along(self.of(tensor), dim)

    def varying(self, labels: Tensor) -> list[int]:
        """The axes along which channels change."""
        return [dim for dim in range(labels.ndim) if self.labels.varies(labels, dim)]

    def bind(self, parameter: Any, dim: int, labels: Tensor, *, reads: bool = False) -> None:
        """Note that an axis of a parameter or buffer (or of None) has these labels."""
        if parameter is None:
            return
        axis = (name_of(parameter), dim)
        if axis in self.axes:
            self.labels.join(self.axes[axis], labels)
        self.axes.setdefault(axis, labels)
        if reads:
            self.readers.add(axis)

    def produce(self, weight: Any, bias: Any, dim: int = 0) -> Tensor:
        """The labels (outputs,) of a layer's new channels; a layer used twice makes the same channels again."""
        axis = (name_of(weight), dim)
        outputs = self.axes.get(axis)
        if outputs is None:
            outputs = self.labels.fresh(weight.shape[dim])
            self.producers.append(axis)
        self.bind(weight, dim, outputs)
        if bias is not None and len(bias) == len(outputs):
            self.bind(bias, 0, outputs)
        return outputs

    def count(self, weight: Any, result: Tensor, outputs: int) -> None:
        """Add the positions of one image at which a layer computes its outputs."""
        if name := getattr(weight, "parameter", None):
            self.positions[name] = self.positions.get(name, 0) + result.numel() // outputs // self._batch

    def fix(self, parameter: Any) -> None:
        """This parameter keeps its shape."""
        if name := getattr(parameter, "parameter", None):
            self._fixed.add(name)

    def regroup(self, labels: Tensor) -> None:
        """Channels were arranged along several axes: in the end only one of them may shrink."""
        self._regrouped.append(labels)

    def rely_on(self, labels: Tensor, sizes: Mapping[int, int]) -> None:
        """The module's own code may give these sizes of axes, by dimension, as numbers."""
        for dim, size in sizes.items():
            if self.labels.varies(labels, dim):
                self.sizes.append((self._inside[-1] if self._inside else "", size, labels, dim))

    def overhear(self, func: Any, args: tuple) -> None:
        """Inside a layer that is followed as a whole: whether it uses its weight as it is."""
        if operation(func).startswith(("conv", "linear")) and getattr(args[1], "parameter", None):
            self._plain = True

    def _follow_module(self, name: str, module: nn.Module) -> None:
        """Know which module's code runs; a layer that may compute its weight is followed as a whole."""
        whole = isinstance(module, _LAYERS) and type(module) not in _LAYERS and not list(module.children())

        def enter(*_: Any) -> None:
            self._inside.append(name)
            self.quiet, self._plain = whole, False

        def leave(module: nn.Module, args: tuple, result: Any) -> Any:
            self._inside.pop()
            self.quiet = False
            if not whole or not args or not isinstance(result, Tensor):
                return None
            with torch._C.DisableTorchFunctionSubclass():
                return label(result, self, self._layer(module, args[0], result))

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave, always_call=True)

    def _layer(self, module: Any, inputs: Any, result: Tensor) -> Tensor:
        function: Any = nn.functional.linear
        args = [inputs, module.weight, module.bias]
        if not isinstance(module, nn.Linear):
            function = getattr(nn.functional, f"conv{module.weight.ndim - 2}d")
            args += [module.stride, module.padding, module.dilation, module.groups]
        labels = self.follow(function, tuple(args), {}, result)
        self.bent += [self.of(inputs), labels]
        if not self._plain:  # norms of the weights of all channels
            self.mixed.append(self.of(inputs))
        made = self.axes.get((name_of(module.weight), 0))
        for parameter in module.parameters(recurse=False):
            if parameter is not module.weight and parameter is not module.bias and made is not None:
                self.bind(parameter, 0, made)
        return labels

    def _settle(self) -> None:
        """Give parameters that were used element by element their axes; freeze what cannot be cut along one axis."""
        for _ in range(2):  # what one regrouping couples can change another
            for labels in self._regrouped:
                for dim in self.varying(labels)[:-1]:
                    self.labels.couple(labels, dim)
        for name, labels in self._elements.items():
            dims = self.varying(labels) or ([0] if labels.ndim == 1 else [])
            if name in self._fixed or len(dims) != 1 or any(key[0] == name for key in self.axes):
                self.labels.freeze(labels)
                self._fixed.add(name)
            else:
                self.axes[name, dims[0]] = self.labels.along(labels, dims[0])
        for (name, _), labels in self.axes.items():
            if name in self._fixed:
                self.labels.freeze(labels)


def name_of(tensor: Any) -> str:
    """The name of a parameter or buffer itself; `Unknown` for anything computed."""
    name = getattr(tensor, "parameter", None)
    if name is None:
        raise Unknown
    return name


def operation(func: Any) -> str:
    """The name of a function, or of the attribute that it reads."""
    name = getattr(func, "__name__", str(func))
    return getattr(func.__self__, "__name__", name) if name == "__get__" else name
