"""Frozen batch norms in training: applied to the weights of the convolutions before them, not to their outputs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shoestring.models.folding import activation_of, foldable_pairs
from shoestring.models.model import Model


def freeze_norms(module: nn.Module) -> None:
    """Set all batch norms to evaluation mode: their statistics no longer change, their weights may still be trained."""
    for part in module.modules():
        if isinstance(part, _BatchNorm):
            part.eval()


class FrozenNorms:
    """The batch norms of a model that are in evaluation mode, so that they are a scale and a shift of each channel.

    While a block runs inside `merged`, convolutions use weights that contain them: the outputs and gradients are the
    same, also those of the norms' weights, without reading and writing each activation once more. There are none on an
    accelerator, where they cost little, and where the output of a convolution is used elsewhere as well.
    """

    def __init__(self, model: Model) -> None:
        find = model.module.get_submodule
        pairs = [(find(convolution), find(norm)) for convolution, norm in foldable_pairs(model).items()]
        self._pairs = [(convolution, norm, activation_of(norm)) for convolution, norm in pairs]

    def __len__(self) -> int:
        return len(self._pairs)

    @contextlib.contextmanager
    def merged(self) -> Iterator[None]:
        """Merge the batch norms into the convolutions for forward passes; backward passes may follow later."""
        replaced: list[tuple[dict[str, Any], dict[str, Any]]] = []
        try:
            for convolution, norm, activation in self._pairs:
                if norm.training:
                    continue
                weights = convolution._parameters
                replaced.append((weights, dict(weights)))
                weights.update(_merged(convolution, norm))  # type: ignore[arg-type]
                norm.forward = activation.forward
            yield
        finally:
            for weights, before in replaced:
                weights.update(before)
            for _, norm, _ in self._pairs:
                norm.__dict__.pop("forward", None)


def _merged(convolution: nn.Module, norm: nn.Module) -> dict[str, Tensor]:
    """Weight and bias of a convolution followed by a batch norm, as functions of the weights of both."""
    assert isinstance(convolution, nn.Conv2d) and isinstance(norm, _BatchNorm)
    assert norm.running_mean is not None and norm.running_var is not None
    scale = (norm.running_var + norm.eps).rsqrt()
    if norm.weight is not None:
        scale = norm.weight * scale
    shift = -norm.running_mean if convolution.bias is None else convolution.bias - norm.running_mean
    bias = shift * scale if norm.bias is None else torch.addcmul(norm.bias, shift, scale)
    return {"weight": convolution.weight * scale[:, None, None, None], "bias": bias}
