"""Running statistics of batch norms, which surgery and weight averaging invalidate."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shoestring.runtime.device import eval_mode


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
