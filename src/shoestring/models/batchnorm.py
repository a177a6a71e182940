"""Batch norms look again at what comes in: after a cut, or where weights were averaged."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shoestring.runtime.device import eval_mode


@torch.no_grad()
def recalibrate(module: nn.Module, batches: Iterable[Tensor]) -> bool:
    """Set the running statistics of all batch norms to those of batches (N, C, H, W); nothing else changes.

    False when there are no such norms, and the batches have not been looked at.
    """
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    momenta = [layer.momentum for layer in norms]
    with eval_mode(module):
        for layer in norms:
            layer.train()
            layer.reset_running_stats()
            layer.momentum = None  # the plain mean over all batches
        for batch in batches if norms else ():
            module(batch)
    for layer, momentum in zip(norms, momenta):
        layer.momentum = momentum
    return bool(norms)
