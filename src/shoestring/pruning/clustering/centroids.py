"""Replacing filters by the means of their clusters, once or a little after every training step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shoestring.channels.table import named_tensors
from shoestring.pruning.clustering.features import norm_gain
from shoestring.pruning.clustering.units import Part, Unit

_TOGETHER_AT = 0.8  # fraction of the training at which clusters are one point, so that averaged weights follow
_TINY = 1e-12
Slices = tuple[Tensor, int, Tensor]  # tensor, dimension, indices (size, entries)


@torch.no_grad()
def write_means(
    module: nn.Module,
    units: Sequence[Unit],
    numbers: Mapping[str, NDArray[np.int64]],
    *,
    fold: bool = True,
    norms: bool = True,
) -> None:
    """Make the members of each cluster equal, in place: to their mean.

    With `fold`, filters are averaged with their batch norm folded in, so that scales that cancel do not matter. Without
    `norms`, batch norms are left as they are.
    """
    for unit in units:
        clusters = torch.from_numpy(numbers[unit.name])
        for part in unit.parts:
            norm: Any = None if part.norm is None else module.get_submodule(part.norm)
            if norm is not None and fold:
                _write_folded(module.get_submodule(part.layer), norm, part.indices, numbers[unit.name])
                continue
            for slices in _slices_of(module, part, norms=norms):
                _write(slices, _mean(slices, clusters))
        tensors = named_tensors(module)
        for (name, dim), own in unit.others:
            _write((tensors[name], dim, own), _mean((tensors[name], dim, own), clusters))


def _write_folded(layer: Any, norm: Any, indices: Tensor, numbers: NDArray[np.int64]) -> None:
    """Make filters and batch norms of each cluster equal, so that together they compute the mean of what they did.

    Clusters of one channel are not changed. The running variance becomes one: the weights absorb it.
    """
    members = np.bincount(numbers)[numbers] > 1
    own, clusters = indices[torch.from_numpy(members)], torch.from_numpy(numbers[members])
    if not len(own):
        return
    gain = norm_gain(norm)
    scale = torch.ones_like(gain) if norm.weight is None else norm.weight.detach().double().cpu()
    size = _means((scale.abs(), 0, own), clusters).clamp_min(_TINY)  # of the batch norm's factor, (channels, entries)

    def folded(tensor: Tensor) -> Tensor:
        values = tensor.detach().double().cpu()
        product = _means((values * gain.view(-1, *[1] * (values.ndim - 1)), 0, own), clusters)
        return product / size.view(*size.shape, *[1] * (product.ndim - 2))

    _write((layer.weight, 0, own), folded(layer.weight))
    if layer.bias is not None:
        _write((layer.bias, 0, own), folded(layer.bias))
    _write((norm.running_mean, 0, own), folded(norm.running_mean))
    _write((norm.running_var, 0, own), torch.full(own.shape, 1.0 - norm.eps, dtype=torch.float64))
    if norm.weight is not None:
        _write((norm.weight, 0, own), size)
    if norm.bias is not None:
        _write((norm.bias, 0, own), _mean((norm.bias, 0, own), clusters))


class Pull:
    """Pulls the weights of each cluster together after every training step.

    With `share`, members stay equal: each step gives them the mean of their updates. Otherwise their distances from the
    mean may be at most a part of the initial ones, which falls linearly to zero over the first 80 % of the training
    (after centripetal SGD, Ding et al. 2019; here the pull follows the budget).
    """

    def __init__(
        self,
        module: nn.Module,
        units: Sequence[Unit],
        numbers: Mapping[str, NDArray[np.int64]],
        *,
        share: bool,
        norms: bool = True,
    ) -> None:
        self.share = share
        self._ties: list[tuple[Slices, Tensor, Tensor]] = []
        tensors = dict(module.named_parameters())
        for unit in units:
            slices = [one for part in unit.parts for one in _slices_of(module, part, norms=norms)]
            slices += [(tensors[name], dim, own) for (name, dim), own in unit.others if name in tensors]
            for tensor, dim, own in slices:
                if isinstance(tensor, nn.Parameter):
                    tied = tensor, dim, own.to(tensor.device)
                    clusters = torch.from_numpy(numbers[unit.name]).to(tensor.device)
                    with torch.no_grad():
                        spread = (_rows(tied) - _means(tied, clusters)).norm()
                    self._ties.append((tied, clusters, spread))

    @torch.no_grad()
    def __call__(self, fraction: float) -> None:
        """Pull at this fraction of the training."""
        allowed = 0.0 if self.share else max(0.0, 1 - fraction / _TOGETHER_AT)
        for slices, clusters, spread in self._ties:
            mean = _means(slices, clusters)
            if allowed:
                rest = _rows(slices) - mean
                mean = mean + rest * (allowed * spread / rest.norm().clamp_min(_TINY)).clamp(max=1.0)
            _write(slices, mean)


def _slices_of(module: nn.Module, part: Part, *, norms: bool = True) -> list[Slices]:
    """Return the tensors of a layer and its batch norm that have one entry per channel, with the channels' indices."""
    owners = [module.get_submodule(part.layer)]
    if norms and part.norm is not None:
        owners.append(module.get_submodule(part.norm))
    tensors = [tensor for owner in owners for tensor in (*owner.parameters(False), *owner.buffers(False))]
    return [(tensor, 0, part.indices) for tensor in tensors if tensor.ndim]


def _rows(slices: Slices) -> Tensor:
    """Return the entries of each channel (size, entries, ...)."""
    tensor, dim, indices = slices
    return tensor.movedim(dim, 0)[indices.flatten().to(tensor.device)].unflatten(0, indices.shape)


def _means(slices: Slices, clusters: Tensor) -> Tensor:
    """Return for each channel the mean over its cluster (size, entries, ...), exactly the same for all members."""
    rows = _rows(slices)
    flat = rows.flatten(1)
    sums = flat.new_zeros(int(clusters.max()) + 1, flat.shape[1]).index_add_(0, clusters, flat)
    return (sums / clusters.bincount(minlength=len(sums)).clamp_min(1)[:, None])[clusters].view(rows.shape)


def _mean(slices: Slices, clusters: Tensor) -> Tensor:
    tensor, dim, indices = slices
    return _means((tensor.detach().double().cpu(), dim, indices), clusters)


def _write(slices: Slices, values: Tensor) -> None:
    tensor, dim, indices = slices
    tensor.movedim(dim, 0)[indices.flatten().to(tensor.device)] = values.flatten(0, 1).to(tensor)
