"""One forward pass in which every activation carries channel labels."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from shoestring.channels.copying import copy_module
from shoestring.channels.labels import LabeledTensor, attach_labels, frozen_labels, labeled_tensors
from shoestring.channels.notes import outermost_modules
from shoestring.channels.operations import (
    Rule,
    UnsupportedOperation,
    operation_name,
    parameter_name,
)
from shoestring.channels.outputs import flatten_outputs
from shoestring.channels.record import TraceRecord
from shoestring.channels.tagged_sizes import tag_attributes, tagged_sizes
from shoestring.models.layers import PLAIN_LAYERS

# Operations that expose the contents of a tensor to Python code.
_EXPOSE_VALUES = {
    *("item", "tolist", "numpy", "equal", "allclose", "is_nonzero"),
    *("__bool__", "__int__", "__float__", "__index__", "__complex__", "__array__"),
}


class Tracer:
    """Runs a copy of a module on labeled tensors and applies a rule to each operation; fills in `record`."""

    def __init__(self, module: nn.Module, rules: Mapping[str, Rule]) -> None:
        self.record = TraceRecord()
        self.inside_opaque_layer = False
        self._uses_own_weight = False
        self._used: set[str] = set()
        self._module_stack: list[str] = []
        self._module = copy_module(module).eval()  # a module may store what it computes
        saved = module.state_dict(keep_vars=True)
        for name, _ in module.named_buffers():
            if name not in saved:  # loading the model would restore its original shape
                self.record.fixed[name] = f"the buffer '{name}' is not saved with the model"
        self._rules = rules

    def run(self, example: Tensor) -> TraceRecord:
        """Trace the forward pass of `example` (N, C, H, W) in evaluation mode.

        If it leaves parameters unused, a pass in training mode shows whether that mode uses them: channels that feed
        layers which run only in training mode are frozen, because verification in evaluation mode cannot cover them.
        """
        record = self.record
        named = dict(self._module.named_parameters()) | dict(self._module.named_buffers())
        state: dict[str, Tensor] = {
            name: attach_labels(tensor.detach(), self, None, parameter_name=name) for name, tensor in named.items()
        }
        for name, child in self._module.named_modules():
            self._register_hooks(name, child)
            tag_attributes(child, name)
        self._forward(example, state)
        record.unused = [name for name, _ in self._module.named_parameters() if name not in self._used]
        if record.unused:
            self._forward_in_training_mode(example, state)
        record.apply_constraints()
        return record

    def _forward(self, example: Tensor, state: dict[str, Tensor]) -> None:
        self.record.batch_size = len(example)
        label = self.record.labels.frozen_label("they are combined with the input images")
        images = attach_labels(example.detach(), self, frozen_labels(example, label))
        with torch.no_grad():
            result = torch.func.functional_call(self._module, state, (images,))
        outputs = labeled_tensors(list(flatten_outputs(result)))
        self.record.freeze_outputs([self.record.labels_of(output) for output in outputs])

    def _forward_in_training_mode(self, example: Tensor, state: dict[str, Tensor]) -> None:
        record = self.record
        costs = dict(record.positions), list(record.products)  # costs are those of evaluation mode
        self._module.train()
        try:
            with torch.random.fork_rng([example.device] if example.is_cuda else []):
                try:
                    self._forward(example, state)
                except Exception:  # batch norms may need more than one value per channel
                    self._forward(torch.cat([example, example]), state)
        except Exception as error:
            layers = ", ".join(outermost_modules(self._module, record.unused))
            raise UnsupportedOperation(
                f"{layers} may run only in training mode, where the network fails: {error}"
            ) from error
        finally:
            self._module.eval()
            record.positions, record.products = costs
        record.training_only = [name for name in record.unused if name in self._used]
        record.unused = [name for name in record.unused if name not in self._used]
        for name in record.training_only:
            layer = name.rpartition(".")[0] or name
            record.fixed[name] = f"they feed '{layer}', which runs only in training mode"

    def propagate(self, func: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> Any:
        """Return the labels of an operation's result: one tensor, or as many as the result has."""
        self._mark_used(args, kwargs)
        rule = self._rules.get(operation_name(func))
        if rule is not None:
            with contextlib.suppress(Exception):  # called in a form that the rule does not support
                return rule(self.record, func, result, *args, **kwargs)
        reason = self._freeze_inputs(func, args, kwargs)
        return frozen_labels(result, self.record.labels.frozen_label(reason)) if isinstance(result, Tensor) else None

    def process_value(self, func: Any, args: tuple, kwargs: dict[str, Any], result: Any) -> Any:
        """Return an operation's result that is not a tensor: tagged sizes, or values exposed to Python code."""
        name, tensor = operation_name(func), args[0] if args else None
        if name in ("shape", "size") and isinstance(tensor, LabeledTensor) and tensor.labels is not None:
            return tagged_sizes(result, tensor.labels, args[1] if len(args) > 1 else kwargs.get("dim"))
        if name in _EXPOSE_VALUES or (result is None and func.__name__ != "__get__"):  # item assignment and the like
            self._freeze_inputs(func, args, kwargs)
        return result

    def observe(self, func: Any, args: tuple) -> None:
        """Record, inside an opaque layer, whether it uses its weight directly."""
        self._mark_used(args, {})
        if operation_name(func).startswith(("conv", "linear")) and getattr(args[1], "parameter_name", None):
            self._uses_own_weight = True

    def _freeze_inputs(self, func: Any, args: tuple, kwargs: dict[str, Any]) -> str:
        """Freeze all channels that this operation takes, and return the reason."""
        self._mark_used(args, kwargs)
        name, record = operation_name(func), self.record
        reason = f"they pass through '{name}', which has no rule"
        if name.startswith(("conv", "linear")) and self._module_stack:
            record.computed.append(self._module_stack[-1])
        for tensor in labeled_tensors((args, kwargs)):
            if tensor.parameter_name is not None and tensor.labels is None:
                record.fixed.setdefault(tensor.parameter_name, f"'{tensor.parameter_name}' is used by '{name}'")
            else:
                record.labels.freeze(record.labels_of(tensor), reason)
        return reason

    def _mark_used(self, args: tuple, kwargs: dict[str, Any]) -> None:
        names = (tensor.parameter_name for tensor in labeled_tensors((args, kwargs)))
        self._used |= {name for name in names if name is not None}

    def _register_hooks(self, name: str, module: nn.Module) -> None:
        """Keep track of the module whose code runs; a layer that may compute its weight is treated as opaque."""
        opaque = isinstance(module, PLAIN_LAYERS) and type(module) not in PLAIN_LAYERS and not list(module.children())

        def enter(*_: Any) -> None:
            self._module_stack.append(name)
            self.inside_opaque_layer, self._uses_own_weight = opaque, False

        def leave(module: nn.Module, args: tuple, result: Any) -> Any:
            self._module_stack.pop()
            self.inside_opaque_layer = False
            if not opaque or not args or not isinstance(result, Tensor):
                return None
            with torch._C.DisableTorchFunctionSubclass():
                return attach_labels(result, self, self._propagate_layer(module, args[0], result))

        module.register_forward_pre_hook(enter)
        module.register_forward_hook(leave, always_call=True)

    def _propagate_layer(self, module: Any, inputs: Any, result: Tensor) -> Tensor:
        """Label the result of an opaque layer like that of the plain convolution or linear layer it derives from."""
        record = self.record
        function: Any = nn.functional.linear
        args = [inputs, module.weight, module.bias]
        if not isinstance(module, nn.Linear):
            function = getattr(nn.functional, f"conv{module.weight.ndim - 2}d")
            args += [module.stride, module.padding, module.dilation, module.groups]
        labels = self.propagate(function, tuple(args), {}, result)
        record.inhomogeneous += [record.labels_of(inputs), labels]
        if not self._uses_own_weight:  # it may normalize its weight over all input channels
            record.mixed.append(record.labels_of(inputs))
        outputs = record.axes.get((parameter_name(module.weight), 0))
        for parameter in module.parameters(recurse=False):
            if parameter is not module.weight and parameter is not module.bias and outputs is not None:
                record.bind(parameter, 0, outputs)
        return labels
