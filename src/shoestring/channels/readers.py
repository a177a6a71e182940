"""What the layers that read channels take in: activations of calibration images, channel by channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from shoestring.channels.table import Table
from shoestring.channels.tracer import Axis
from shoestring.runtime.device import eval_mode

LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)


def visit(module: nn.Module, table: Table, batches: Iterable[Tensor], note: Callable[[Axis, Tensor], None]) -> None:
    """Run the module in evaluation mode on batches (N, C, H, W) and note what its layers read, axis by axis.

    `note(axis, values)` gets values (rows, length of the axis): one row for each image and position. Only layers that
    read every channel at once are visited: convolutions in one group and linear layers.
    """
    handles = []
    for name, dim in table.readers & table.axes.keys():
        layer = module.get_submodule(name.rpartition(".")[0])
        if isinstance(layer, LAYERS) and getattr(layer, "groups", 1) == 1:
            handles.append(layer.register_forward_pre_hook(_hook((name, dim), note), with_kwargs=True))
    try:
        with eval_mode(module), torch.no_grad():
            for batch in batches:
                module(batch)
    finally:
        for handle in handles:
            handle.remove()


def _hook(axis: Axis, note: Callable[[Axis, Tensor], None]) -> Callable[..., None]:
    def hook(layer: Any, inputs: tuple, named: dict[str, Any]) -> None:
        values = inputs[0] if inputs else named.get("input")
        if isinstance(values, Tensor):
            values = values.detach()  # of several images or of one
            dim = values.ndim - 1 if isinstance(layer, nn.Linear) else values.ndim - layer.weight.ndim + 1
            note(axis, values.movedim(dim, -1).reshape(-1, values.shape[dim]))

    return hook
