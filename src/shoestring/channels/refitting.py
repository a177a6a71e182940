"""Refitting the layers of a pruned network to the outputs of the original ones, in one forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm

from shoestring.channels.table import Kept, Table
from shoestring.models.batchnorm import batch_statistics
from shoestring.runtime.device import eval_mode

_MAX_ROWS = 32_768  # positions that a layer is fitted to
_MIN_ROWS_PER_INPUT = 8  # with fewer, the fit would follow the images instead of the network
_MAX_INPUTS = 1536  # weights of one output; more take seconds per layer
_MAX_VALUES = 64_000_000  # of a layer's output, over all images
_RIDGE = 1e-3  # relative to the mean energy of an input: weights change little where images say little


@dataclass
class _Outputs:
    """What the layers of the original network compute.

    `sizes` are numbers per image by layer, of layers that run once. `positions` (R,) and `values` (R, outputs) are a
    random sample, and `normalized` the layers whose output is the input of a batch norm.
    """

    sizes: dict[str, int] = field(default_factory=dict)
    positions: dict[str, Tensor] = field(default_factory=dict)
    values: dict[str, Tensor] = field(default_factory=dict)
    normalized: set[str] = field(default_factory=set)


@torch.no_grad()
def refit(pruned: nn.Module, original: nn.Module, table: Table, kept: Kept, batches: Iterable[Tensor]) -> None:
    """Fit the layers of a pruned network, one after the other, to the outputs of the original layers, in place.

    All images of `batches` (N, C, H, W), or as many as fit into memory, pass through the pruned network at once. Just
    before a convolution or linear layer runs, its weights are fitted by least squares to the outputs of the original
    layer, from the inputs that the pruned network has. So each layer also corrects the errors of those before it (as in
    channel pruning, He, Zhang & Sun 2017). Batch norms use, and keep, the statistics of these images. Convolutions with
    groups, layers with very many inputs, and those that run several times do not change.
    """
    images = torch.cat(list(batches))
    names = [name for name, layer in original.named_modules() if type(layer) in (nn.Conv2d, nn.Linear)]
    sizes = _run_original(original, names, images[:1]).sizes
    if not sizes:
        return
    images = images[: max(1, _MAX_VALUES // max(sizes.values()))]
    outputs = _run_original(original, list(sizes), images)
    indices = table.kept_indices(kept)

    def fit(name: str, layer: Any, args: tuple[Any, ...]) -> None:
        if not args:
            return
        own = indices.get((f"{name}.weight", 0))
        values = outputs.values[name]
        _fit(
            layer,
            _inputs(layer, args[0], outputs.positions[name]),
            values if own is None else values[:, own.to(values.device)],
            centered=name in outputs.normalized,
        )

    hooks = {name: partial(fit, name) for name in outputs.values if _can_be_fitted(pruned.get_submodule(name))}
    with batch_statistics(pruned), _pre_hooks(pruned, hooks):
        pruned(images)


def _run_original(original: nn.Module, names: list[str], images: Tensor) -> _Outputs:
    """Run the original network, and return what those of these layers that run once compute."""
    outputs, runs, generator = _Outputs(), dict.fromkeys(names, 0), torch.Generator().manual_seed(0)
    last: list[tuple[str, Tensor]] = []  # the layer that has run last, and its output

    def record(name: str, layer: Any, args: Any, result: Tensor) -> None:
        runs[name] += 1
        rows = result.movedim(1, -1).flatten(0, -2) if isinstance(layer, nn.Conv2d) else result.flatten(0, -2)
        positions = torch.randperm(len(rows), generator=generator)[:_MAX_ROWS].to(rows.device)
        outputs.sizes[name] = result.numel() // len(images)
        outputs.positions[name], outputs.values[name] = positions, rows[positions]
        last[:] = [(name, result)]

    def follow(layer: Any, args: tuple[Any, ...]) -> None:
        if args and last and args[0] is last[0][1]:
            outputs.normalized.add(last[0][0])

    handles = [original.get_submodule(name).register_forward_hook(partial(record, name)) for name in names]
    handles += [one.register_forward_pre_hook(follow) for one in original.modules() if isinstance(one, _BatchNorm)]
    try:
        with eval_mode(original):
            original(images)
    finally:
        for handle in handles:
            handle.remove()
    for name in [name for name, count in runs.items() if count != 1]:
        for content in (outputs.sizes, outputs.positions, outputs.values):
            content.pop(name, None)
    return outputs


def _can_be_fitted(layer: nn.Module) -> bool:
    if isinstance(layer, nn.Conv2d):
        plain = layer.groups == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        return plain and layer.weight[0].numel() <= _MAX_INPUTS
    return isinstance(layer, nn.Linear) and layer.in_features <= _MAX_INPUTS


def _inputs(layer: Any, values: Tensor, positions: Tensor) -> Tensor:
    """Return the inputs (R, D) from which a layer computes its outputs at these positions."""
    if isinstance(layer, nn.Linear):
        return values.flatten(0, -2)[positions]
    (high, wide), (down, right), (between, across) = layer.padding, layer.stride, layer.dilation
    padded = functional.pad(values, (wide, wide, high, high))
    rows, columns = layer.weight.shape[2:]
    height = (padded.shape[2] - between * (rows - 1) - 1) // down + 1
    width = (padded.shape[3] - across * (columns - 1) - 1) // right + 1
    image, row, column = positions // (height * width), positions // width % height, positions % width
    taps = [
        padded[image, :, row * down + i * between, column * right + j * across]
        for i in range(rows)
        for j in range(columns)
    ]
    return torch.stack(taps, -1).flatten(1)  # in the order of the weights: channel, row, column


def _fit(layer: Any, inputs: Tensor, targets: Tensor, *, centered: bool) -> None:
    """Change the weights of a layer so that it maps inputs (R, D) to targets (R, outputs), in the least squares sense.

    `centered` disregards the mean of each output, which a batch norm removes.
    """
    if len(inputs) < _MIN_ROWS_PER_INPUT * inputs.shape[1]:
        return
    weight = layer.weight.flatten(1)
    errors = targets - inputs @ weight.T
    mean, mean_error = inputs.new_zeros(()), errors.new_zeros(())
    if centered or layer.bias is not None:
        mean, mean_error = inputs.mean(0), errors.mean(0)
        inputs, errors = inputs - mean, errors - mean_error
    gram = (inputs.T @ inputs).double()
    ridge = _RIDGE * gram.diagonal().mean().clamp_min(1e-30)
    gram.diagonal().add_(ridge)
    change = torch.linalg.solve(gram, (inputs.T @ errors).double()).T.to(weight)
    layer.weight.copy_((weight + change).view_as(layer.weight))
    if layer.bias is not None and not centered:
        layer.bias.copy_(mean_error - change @ mean)  # that of the errors is the old bias and its correction


@contextmanager
def _pre_hooks(module: nn.Module, hooks: Mapping[str, Callable[..., None]]) -> Iterator[None]:
    handles = [module.get_submodule(name).register_forward_pre_hook(hook) for name, hook in hooks.items()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
