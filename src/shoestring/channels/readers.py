"""What the layers that read channels take in: activations of calibration images, channel by channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from shoestring.channels.table import Table
from shoestring.channels.tracer import Axis


def visit(module: nn.Module, table: Table, batches: Iterable[Tensor], note: Callable[[Axis, Tensor], None]) -> None:
    """Run the module in evaluation mode on batches (N, C, H, W) and note what its layers read, axis by axis.

    `note(axis, values)` gets values (rows, channels of the axis): one row for each image and position. Only layers
    that read every channel at once are visited: convolutions in one group and linear layers.
    """
    axes = {name.rpartition(".")[0]: (name, dim) for name, dim in table.readers if (name, dim) in table.axes}
    with _evaluating(module), torch.no_grad():
        handles = [
            module.get_submodule(owner).register_forward_pre_hook(_hook(axis, note)) for owner, axis in axes.items()
        ]
        try:
            for batch in batches:
                module(batch)
        finally:
            for handle in handles:
                handle.remove()


def _hook(axis: Axis, note: Callable[[Axis, Tensor], None]) -> Callable[[nn.Module, tuple], None]:
    def hook(layer: Any, inputs: tuple) -> None:
        if getattr(layer, "groups", 1) > 1 or axis[0].rpartition(".")[2] != "weight":
            return
        values = inputs[0].detach()
        dim = values.ndim - 1 if isinstance(layer, nn.Linear) else values.ndim - layer.weight.ndim + 1
        if values.shape[dim] == layer.weight.shape[axis[1]]:
            note(axis, values.movedim(dim, -1).flatten(0, -2))

    return hook


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside; afterwards every part is in the mode it was in."""
    modes = [(part, part.training) for part in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for part, training in modes:
            part.training = training
