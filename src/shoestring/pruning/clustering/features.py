"""What filters are compared by: folded filters, plain weights or activations, as one row per channel."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shoestring.channels.activations import run_with_hooks
from shoestring.channels.table import named_tensors
from shoestring.pruning.clustering.units import Part, Unit

Features = Literal["filters", "weights", "activations"]
Metric = Literal["euclidean", "cosine", "correlation"]
Rows = NDArray[np.float64]

_SAMPLES = 64  # positions sampled from each image
_MAX_SAMPLES = 4096  # in total
_TINY = 1e-30


def describe(
    module: nn.Module, units: Sequence[Unit], batches: Iterable[Tensor], features: Features, metric: Metric
) -> dict[str, Rows]:
    """Return rows (size, D) of each unit, whose Euclidean distances grow with the distances of the metric.

    - "filters": weights and biases with the batch norm that follows folded in;
    - "weights": weights alone;
    - "activations": outputs of layer and batch norm at positions sampled from `batches` (N, C, H, W), so that the
      distance of two channels is that of their functions.

    Each layer of a unit has the same weight. With the metric "cosine" rows have unit length, with "correlation" they
    are centered before.
    """
    tensors, described = named_tensors(module), {}
    outputs = _outputs(module, units, batches) if features == "activations" else {}
    for unit in units:
        blocks = []
        for part in unit.parts:
            values = outputs[part.norm or part.layer] if features == "activations" else _rows(module, part, features)
            blocks.append(values[part.indices.flatten()].unflatten(0, part.indices.shape).flatten(1))
        if features != "activations" or not blocks:
            for (name, dim), own in unit.others:
                rows = tensors[name].detach().double().cpu().movedim(dim, 0)
                blocks.append(rows[own.flatten()].unflatten(0, own.shape).flatten(1))
        scaled = [block / block.norm().clamp_min(_TINY) for block in blocks]
        described[unit.name] = _for_metric(torch.cat(scaled, 1), metric).numpy()
    return described


def _for_metric(rows: Tensor, metric: Metric) -> Tensor:
    if metric == "correlation":
        rows = rows - rows.mean(1, keepdim=True)
    return rows if metric == "euclidean" else rows / rows.norm(dim=1, keepdim=True).clamp_min(_TINY)


def _rows(module: nn.Module, part: Part, features: Features) -> Tensor:
    """Return the filters of a layer, with their biases and batch norm unless only weights are asked for."""
    layer: Any = module.get_submodule(part.layer)
    weights = layer.weight.detach().double().cpu().flatten(1)
    if features == "weights":
        return weights
    bias = torch.zeros(len(weights), dtype=torch.float64) if layer.bias is None else layer.bias.detach().double().cpu()
    if part.norm is not None:
        norm: Any = module.get_submodule(part.norm)
        gain = norm_gain(norm)
        weights, bias = weights * gain[:, None], (bias - norm.running_mean.double().cpu()) * gain
        bias = bias if norm.bias is None else bias + norm.bias.detach().double().cpu()
    return torch.cat([weights, bias[:, None]], 1)


def norm_gain(norm: Any) -> Tensor:
    """Return the factor of each channel in a batch norm in evaluation mode, float64 (C,)."""
    scale = (norm.running_var.double().cpu() + norm.eps).rsqrt()
    return scale if norm.weight is None else scale * norm.weight.detach().double().cpu()


def _outputs(module: nn.Module, units: Sequence[Unit], batches: Iterable[Tensor]) -> dict[str, Tensor]:
    """Return samples (outputs, samples) of the outputs of each layer, after its batch norm, by the module's name."""
    rng, sampled = np.random.default_rng(0), dict[str, list[Tensor]]()

    def keep(name: str) -> Callable[..., None]:
        def hook(part: nn.Module, args: tuple, output: Tensor) -> None:
            dim = output.ndim - 1 if isinstance(part, nn.Linear) else 1
            rows = output.detach().movedim(dim, -1).flatten(0, -2)
            count = min(len(rows), _SAMPLES * len(output))
            chosen = torch.from_numpy(rng.choice(len(rows), count, replace=False)).to(rows.device)
            sampled.setdefault(name, []).append(rows[chosen].double().cpu())

        return hook

    names = {part.norm or part.layer for unit in units for part in unit.parts}
    handles = [module.get_submodule(name).register_forward_hook(keep(name)) for name in names]
    run_with_hooks(module, batches, handles)
    return {name: torch.cat(rows)[:_MAX_SAMPLES].T for name, rows in sampled.items()}
