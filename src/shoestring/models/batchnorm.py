"""Batch norms: which layers they follow, and their running statistics, which surgery and averaging invalidate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shoestring.models.layers import PLAIN_LAYERS
from shoestring.runtime.device import eval_mode


@torch.no_grad()
def find_norms(module: nn.Module, example: Tensor) -> tuple[dict[str, str], Any]:
    """Return the batch norm that reads the output of each convolution and linear layer directly, if there is one.

    Layers and batch norms are those that are called once for the example (N, C, H, W); batch norms have running
    statistics. The outputs for the example, in evaluation mode, are returned as well.
    """
    made: dict[int, tuple[Tensor, str]] = {}  # tensors are kept, so that no other one gets the same id
    calls: Counter[str] = Counter()
    norms: dict[str, str] = {}

    def after(name: str, layer: nn.Module, inputs: tuple, output: Tensor) -> None:
        calls[name] += 1
        made[id(output)] = output, name

    def before(name: str, norm: nn.Module, inputs: tuple) -> None:
        calls[name] += 1
        if inputs and id(inputs[0]) in made:
            norms[made[id(inputs[0])][1]] = name

    handles = []
    for name, layer in module.named_modules():
        if isinstance(layer, PLAIN_LAYERS):
            handles.append(layer.register_forward_hook(partial(after, name)))
        elif isinstance(layer, _BatchNorm) and layer.running_mean is not None:
            handles.append(layer.register_forward_pre_hook(partial(before, name)))
    try:
        with eval_mode(module):
            outputs = module(example)
    finally:
        for handle in handles:
            handle.remove()
    return {layer: norm for layer, norm in norms.items() if calls[layer] == calls[norm] == 1}, outputs


@torch.no_grad()
def reestimate_batchnorm(module: nn.Module, batches: Iterable[Tensor]) -> bool:
    """Re-estimate the running statistics of all batch norms on batches (N, C, H, W); nothing else changes.

    Return False, without consuming the batches, if there are no batch norms that track statistics.
    """
    with batch_statistics(module) as norms:
        for batch in batches if norms else ():
            module(batch)
    return bool(norms)


@contextmanager
def batch_statistics(module: nn.Module) -> Iterator[list[_BatchNorm]]:
    """Inside the block, batch norms use the statistics of each batch; afterwards, they keep the mean over all batches.

    Everything else is in evaluation mode. Yields the batch norms that track statistics.
    """
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    momenta = [layer.momentum for layer in norms]
    with eval_mode(module):
        for layer in norms:
            layer.train()
            layer.reset_running_stats()
            layer.momentum = None  # cumulative average over all batches
        try:
            yield norms
        finally:
            for layer, momentum in zip(norms, momenta):
                layer.momentum = momentum
