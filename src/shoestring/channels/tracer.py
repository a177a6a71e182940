"""One forward pass in which every activation carries channel labels; what each operation does to them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from shoestring.channels.labels import FROZEN, Labelled, Labels, compact, frozen, label, labelled
from shoestring.channels.numbers import Attribute, AttributeSize, AxisSize, sizes_of, tag
from shoestring.channels.trial import copied, leaves

Axis = tuple[str, int]
Rule = Callable[..., Any]
_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
# What lets Python's own code see the numbers in a tensor.
_CONTENTS = {
    *("item", "tolist", "numpy", "equal", "allclose", "is_nonzero"),
    *("__bool__", "__int__", "__float__", "__index__", "__complex__", "__array__"),
}


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
    says how often an image uses each weight, `products` what else is multiplied: (multiply-accumulates of one image,
    the axes that they are proportional to, as labels and dimension). Channels that are `mixed` meet statistics or
    products over channels, so that to drop one is not the same as to silence it; `bent` ones meet more than layers,
    batch norms and functions f with f(ax) = a f(x) for a > 0. `sizes` are numbers that modules keep in their own code:
    (attribute, labels, dimension). `computed` names layers whose weights are no parameters, `unused` the parameters
    that no pass has a use for, `trained_only` those that only training mode uses.
    """

    def __init__(self, module: nn.Module, rules: Mapping[str, Rule]) -> None:
        self.labels = Labels()
        self.axes: dict[Axis, Tensor] = {}
        self.producers: list[Axis] = []
        self.readers: set[Axis] = set()
        self.positions: dict[str, int] = {}
        self.products: list[tuple[int, list[tuple[Tensor, int]]]] = []
        self.mixed: list[Tensor] = []
        self.bent: list[Tensor] = []
        self.sizes: list[tuple[AttributeSize, Tensor, int]] = []
        self.computed: list[str] = []
        self.unused: list[str] = []
        self.trained_only: list[str] = []
        self.quiet = False
        self._plain = False
        self._regrouped: list[Tensor] = []
        self._summaries: list[tuple[Tensor, Tensor, bool]] = []
        self._tied: list[tuple[Tensor, int, AxisSize]] = []
        self._elements: dict[str, Tensor] = {}
        self._fixed: dict[str, str] = {}
        self._used: set[str] = set()
        self._inside: list[str] = []
        self._batch = 1
        self._module = copied(module).eval()  # a module may keep what it computes
        saved = module.state_dict(keep_vars=True)
        for name, _ in module.named_buffers():
            if name not in saved:  # it would come back as it was
                self._fixed[name] = f"the buffer '{name}' is not saved with the network"
        self._rules = rules

    def run(self, example: Tensor) -> None:
        """Trace the forward pass of `example` (N, C, H, W) in evaluation mode.

        Where some parameters were not used, a pass in training mode tells whether they are there: what feeds layers
        that run only there is frozen, for they are out of reach of every trial in evaluation mode.
        """
        named = dict(self._module.named_parameters()) | dict(self._module.named_buffers())
        state: dict[str, Tensor] = {name: label(t.detach(), self, None, parameter=name) for name, t in named.items()}
        for name, child in self._module.named_modules():
            self._follow_module(name, child)
            tag(child, name)
        self._forward(example, state)
        self.unused = [name for name, _ in self._module.named_parameters() if name not in self._used]
        if self.unused:
            self._train(example, state)
        self._settle()

    def _forward(self, example: Tensor, state: dict[str, Tensor]) -> None:
        self._batch = len(example)
        image = label(example.detach(), self, frozen(example, self.labels.because("they meet the images themselves")))
        with torch.no_grad():
            result = torch.func.functional_call(self._module, state, (image,))
        outputs = [self.of(output) for output in labelled(list(leaves(result)))]
        shown = [self.labels.find(compact(output)[0]).unique() for output in outputs]
        for summary, source, _ in self._summaries:  # an output that all channels were reduced to hides them
            root = self.labels.find(summary.flatten()[:1])
            if int(root) != FROZEN and any(bool((own == root).any()) for own in shown):
                self.labels.freeze(source)
        for output in outputs:
            self.labels.freeze(output)

    def _train(self, example: Tensor, state: dict[str, Tensor]) -> None:
        costs = dict(self.positions), list(self.products)  # are those of evaluation mode
        self._module.train()
        try:
            with torch.random.fork_rng([example.device] if example.is_cuda else []):
                try:
                    self._forward(example, state)
                except Exception:  # batch norms need two images
                    self._forward(torch.cat([example, example]), state)
        except Exception as error:
            layers = ", ".join(layers_of(self._module, self.unused))
            raise Unknown(f"{layers} may run only in training mode, and there the network fails: {error}") from error
        finally:
            self._module.eval()
            self.positions, self.products = costs
        self.trained_only = [name for name in self.unused if name in self._used]
        self.unused = [name for name in self.unused if name not in self._used]
        for name in self.trained_only:
            layer = name.rpartition(".")[0] or name
            self._fixed[name] = f"they feed '{layer}', which runs only in training mode"

    def follow(self, func: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> Any:
        """The labels of an operation's result: a tensor, or as many tensors as the result has."""
        self.use(args, kwargs)
        rule = self._rules.get(operation(func))
        if rule is not None:
            with contextlib.suppress(Exception):  # called in a form that the rule does not know
                return rule(self, func, result, *args, **kwargs)
        reason = self.give_up(func, args, kwargs)
        return frozen(result, self.labels.because(reason)) if isinstance(result, Tensor) else None

    def tell(self, func: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> Any:
        """What an operation gives that is no tensor: sizes, or numbers that Python's own code goes on with."""
        name, tensor = operation(func), args[0] if args else None
        if name in ("shape", "size") and isinstance(tensor, Labelled) and tensor.labels is not None:
            return sizes_of(result, tensor.labels, args[1] if len(args) > 1 else kwargs.get("dim"))
        if name in _CONTENTS or (result is None and func.__name__ != "__get__"):  # item assignment and its like
            self.give_up(func, args, kwargs)
        return result

    def give_up(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> str:
        """Freeze whatever this operation takes in; the reason."""
        self.use(args, kwargs)
        reason = f"they meet '{operation(func)}', which has no rule here"
        if operation(func).startswith(("conv", "linear")) and self._inside:
            self.computed.append(self._inside[-1])
        for tensor in labelled((args, kwargs)):
            if tensor.parameter is not None and tensor.labels is None:
                self._fixed.setdefault(tensor.parameter, f"'{tensor.parameter}' goes through '{operation(func)}'")
            else:
                self.labels.freeze(self.of(tensor), reason)
        return reason

    def use(self, args: tuple, kwargs: dict[str, Any]) -> None:
        """Note which parameters an operation takes in."""
        self._used |= {tensor.parameter for tensor in labelled((args, kwargs)) if tensor.parameter is not None}

    def of(self, tensor: Any) -> Tensor:
        """The labels of a tensor: its own, a parameter's one per element, a constant's frozen ones."""
        if not isinstance(tensor, Labelled):
            return frozen(tensor, self.labels.because("they meet a constant that the code makes"))
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

    def multiply(self, macs: int, axes: Iterable[tuple[Tensor, int]]) -> None:
        """Add multiply-accumulates of the whole batch, in proportion to these axes (labels, dimension)."""
        self.products.append((macs // self._batch, list(axes)))

    def fix(self, parameter: Any) -> None:
        """This parameter keeps its shape."""
        if name := getattr(parameter, "parameter", None):
            self._fixed.setdefault(name, f"'{name}' works along another axis than that of channels")

    def regroup(self, labels: Tensor) -> None:
        """Channels were arranged along several axes: in the end only one of them may shrink."""
        self._regrouped.append(labels)

    def rely_on(self, labels: Tensor, sizes: Mapping[int, Any]) -> None:
        """The code gives these sizes of axes, by dimension; what is known of the numbers must hold after a cut too."""
        for dim, size in sizes.items():
            if isinstance(size, AttributeSize) and self.labels.varies(labels, dim):
                self.sizes.append((size, labels, dim))
            elif isinstance(size, AxisSize):
                self._tied.append((labels, dim, size))

    def summary(self, values: Tensor, shape: Iterable[int], *, positional: bool = False) -> Tensor:
        """Labels of numbers that all channels (labels `values`) were reduced to.

        The channels are frozen where such a number is an output. Where it is `positional`, the index of a channel, they
        are frozen whatever it is used for.
        """
        shape = list(shape)
        own = self.labels.fresh(*[1] * len(shape)).expand(shape)
        self._summaries.append((own, values, positional))
        return own

    def overhear(self, func: Any, args: tuple) -> None:
        """Inside a layer that is followed as a whole: whether it uses its weight as it is."""
        self.use(args, {})
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
        for number in range(4):  # what one of these couples can change another
            for labels in self._regrouped:
                for dim in self.varying(labels)[:-1]:
                    self.labels.couple(labels, dim)
            if number % 2:
                self._tie()
        for name, labels in self._elements.items():
            dims = self.varying(labels) or ([0] if labels.ndim == 1 else [])
            if name not in self._fixed and len(dims) == 1 and not any(key[0] == name for key in self.axes):
                self.axes[name, dims[0]] = self.labels.along(labels, dims[0])
                continue
            told = f"channels lie along {len(dims)} axes of '{name}'" if len(dims) > 1 else f"'{name}' keeps its shape"
            self.labels.freeze(labels, self._fixed.setdefault(name, told))
        for (name, _), labels in self.axes.items():
            if name in self._fixed:
                self.labels.freeze(labels, self._fixed[name])
        for summary, source, positional in self._summaries:
            if positional and int(self.labels.find(summary.flatten()[:1])) == FROZEN:
                self.labels.freeze(source, "their positions are used, as those of classes are")

    def _tie(self) -> None:
        """Axes that one number gives the size of lose the same channels, unless they lose equally many anyway."""
        pairs = [(line(labels, dim), line(size.labels, size.dim)) for labels, dim, size in self._tied]
        first: dict[Attribute, Tensor] = {}
        for size, labels, dim in self.sizes:
            pairs.append((line(labels, dim), first.setdefault(size.attribute, line(labels, dim))))
        for own, other in pairs:
            one, another = (self.labels.find(labels).sort().values for labels in (own, other))
            if len(own) == len(other) and bool((one != one[:1]).any()) and not torch.equal(one, another):
                self.labels.join(own, other)


def line(labels: Tensor, dim: int) -> Tensor:
    """The labels along one axis, at the first place of all others."""
    return labels.movedim(dim, 0).flatten(1)[:, 0] if labels.ndim > 1 else labels


def layers_of(module: nn.Module, parameters: Sequence[str]) -> list[str]:
    """The outermost modules all of whose parameters are among these."""
    every = [name for name, _ in module.named_parameters()]
    found: list[str] = []
    for name in parameters:
        parts = name.split(".")
        whole = [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
        found.append(next(one for one in whole if {n for n in every if f"{n}.".startswith(f"{one}.")} <= {*parameters}))
    return list(dict.fromkeys(found))


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
