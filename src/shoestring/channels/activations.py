"""Input activations of the layers that consume channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from shoestring.channels.table import Axis, Table
from shoestring.models.layers import PLAIN_LAYERS
from shoestring.runtime.device import eval_mode


def visit_inputs(
    module: nn.Module, table: Table, batches: Iterable[Tensor], callback: Callable[[Axis, Tensor], None]
) -> None:
    """Run the module in evaluation mode on batches (N, C, H, W) and pass on the inputs of its layers.

    Calls `callback(axis, values)` with values (rows, length of the axis), one row per image and position. Only layers
    that read all channels at once are visited: linear layers and convolutions without groups.
    """
    handles: list[RemovableHandle] = []
    for name, dim in table.consumers & table.axes.keys():
        layer = module.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, PLAIN_LAYERS) and getattr(layer, "groups", 1) == 1:
            handles.append(layer.register_forward_pre_hook(_hook((name, dim), callback), with_kwargs=True))
    run_with_hooks(module, batches, handles)


def run_with_hooks(module: nn.Module, batches: Iterable[Tensor], handles: Iterable[RemovableHandle]) -> None:
    """Run the module in evaluation mode on batches (N, C, H, W), and remove the hooks of these handles from it."""
    try:
        with eval_mode(module), torch.no_grad():
            for batch in batches:
                module(batch)
    finally:
        for handle in handles:
            handle.remove()


def _hook(axis: Axis, callback: Callable[[Axis, Tensor], None]) -> Callable[..., None]:
    def hook(layer: Any, args: tuple, kwargs: dict[str, Any]) -> None:
        values = args[0] if args else kwargs.get("input")
        if isinstance(values, Tensor):
            values = values.detach()  # with or without a batch dimension
            dim = values.ndim - 1 if isinstance(layer, nn.Linear) else values.ndim - layer.weight.ndim + 1
            callback(axis, values.movedim(dim, -1).reshape(-1, values.shape[dim]))

    return hook
