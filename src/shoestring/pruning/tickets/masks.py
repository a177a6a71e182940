"""Masks of weights: which weights of a network remain."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

_LAYERS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.Linear)
_CONVOLUTIONS = _LAYERS[:3]
Mask = dict[str, Tensor]  # bool, by the name of the weight


def prunable_weights(module: nn.Module) -> list[str]:
    """Return the names of the trainable weights of linear layers and convolutions, without biases; shared ones once."""
    own = {id(layer.weight) for layer in module.modules() if isinstance(layer, _LAYERS)}
    return [name for name, weight in module.named_parameters() if id(weight) in own and weight.requires_grad]


def rates_by_weight(
    module: nn.Module, names: Collection[str], rate: float, *, conv_rate: float | None, heads: Collection[str]
) -> dict[str, float]:
    """Return the fraction of each weight tensor that a level removes; half as much of the last layer."""

    def rate_of(name: str) -> float:
        layer = module.get_submodule(name.rpartition(".")[0])
        own = conv_rate if conv_rate is not None and isinstance(layer, _CONVOLUTIONS) else rate
        return own / 2 if name in heads else own

    return {name: rate_of(name) for name in names}


def full_mask(weights: Mapping[str, Tensor]) -> Mask:
    """Return the mask that keeps all of these weights."""
    return {name: torch.ones_like(weight, dtype=torch.bool, device="cpu") for name, weight in weights.items()}


def fraction_left(mask: Mask) -> float:
    """Return the fraction of the weights that remain."""
    return sum(int(own.sum()) for own in mask.values()) / sum(own.numel() for own in mask.values())


def prune_smallest(
    weights: Mapping[str, Tensor], mask: Mask, rates: Mapping[str, float], scope: Literal["layer", "global"]
) -> Mask:
    """Return the mask without the remaining weights of smallest magnitude; every tensor keeps at least one weight.

    With the scope "layer" each tensor loses the fraction `rates` of its remaining weights. With "global" all compete,
    and as many are removed in total.
    """
    counts = {name: round(rates[name] * int(own.sum())) for name, own in mask.items()}
    scores = {name: _removable_scores(weights[name], own) for name, own in mask.items()}
    if scope == "layer":
        return {name: _without_smallest(own, scores[name], counts[name]) for name, own in mask.items()}
    together, whole = (torch.cat([own.flatten() for own in parts.values()]) for parts in (scores, mask))
    return _split(_without_smallest(whole, together, sum(counts.values())), mask)


def _removable_scores(weight: Tensor, mask: Tensor) -> Tensor:
    """Return the magnitudes of the remaining weights except the largest; infinity elsewhere."""
    scores = weight.detach().float().cpu().abs()
    largest = scores.masked_fill(~mask, -1.0).argmax()
    scores = scores.masked_fill(~mask, torch.inf).contiguous()
    scores.view(-1)[largest] = torch.inf
    return scores


def _without_smallest(mask: Tensor, scores: Tensor, count: int) -> Tensor:
    """Return the mask without the weights of the `count` smallest finite scores."""
    kept, scores = mask.flatten().clone(), scores.flatten()
    kept[scores.argsort(stable=True)[: min(count, int(scores.isfinite().sum()))]] = False
    return kept.view(mask.shape)


def _split(values: Tensor, mask: Mask) -> Mask:
    """Split the values (weights,) of all tensors into a mask like this one."""
    parts = values.split([own.numel() for own in mask.values()])
    return {name: part.view(own.shape) for (name, own), part in zip(mask.items(), parts)}


def shuffled_mask(mask: Mask, seed: int) -> Mask:
    """Return a mask with as many weights of each tensor, at random places."""
    generator = torch.Generator().manual_seed(seed)
    return {
        name: own.flatten()[torch.randperm(own.numel(), generator=generator)].view(own.shape)
        for name, own in mask.items()
    }


def random_mask(mask: Mask, seed: int) -> Mask:
    """Return a mask with as many weights in total, drawn at random from all tensors."""
    generator = torch.Generator().manual_seed(seed)
    whole = torch.cat([own.flatten() for own in mask.values()])
    return _split(whole[torch.randperm(len(whole), generator=generator)], mask)


@torch.no_grad()
def apply_mask(weights: Mapping[str, Tensor], mask: Mask) -> None:
    """Set the weights that do not remain to zero, in place."""
    for name, own in mask.items():
        weights[name].masked_fill_(~own.to(weights[name].device), 0.0)


def pack_mask(mask: Mask) -> dict[str, Tensor]:
    """Return the mask with eight weights in a byte, for a file."""
    return {name: torch.from_numpy(np.packbits(own.numpy().ravel())) for name, own in mask.items()}


def unpack_mask(packed: Mapping[str, Tensor], weights: Mapping[str, Tensor]) -> Mask:
    """Return the mask that `pack_mask` packed, of these weights."""
    bits = {name: np.unpackbits(packed[name].numpy(), count=weight.numel()) for name, weight in weights.items()}
    return {name: torch.from_numpy(own.astype(bool)).view(weights[name].shape) for name, own in bits.items()}
