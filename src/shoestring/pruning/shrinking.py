"""Pruning a model to a target size."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, get_args

import torch
from torch import Tensor

from shoestring.channels import compensate, drop, trace
from shoestring.channels.copying import copy_module
from shoestring.channels.outputs import compute_outputs
from shoestring.config import registry
from shoestring.config.units import Size
from shoestring.errors import UserError, unknown
from shoestring.models import Model, Preprocessing
from shoestring.models.batchnorm import reestimate_batchnorm
from shoestring.pruning.allocate import Scope, select_channels


def shrink(
    model: Model,
    batches: Iterable[Tensor],
    *,
    method: str = "magnitude",
    macs: Size | str | float | None = None,
    params: Size | str | float | None = None,
    scope: Scope = "global",
    log: Callable[[str], None] | None = None,
    **options: Any,
) -> Model:
    """Return a new model with fewer channels, in smaller tensors; the given one is not changed.

    `batches` are preprocessed images (N, C, R, R), without labels, for criteria that use activations, for least-squares
    compensation in the layers that lose channels, and to re-estimate batch-norm statistics. Without any, channels are
    just dropped. `macs` (multiply-accumulates per image) and `params` are fractions of the given model (0.5) or counts
    ("200k", "12M", or a number from 1000). With the scope "uniform" every group of channels loses the same fraction,
    with "global" all channels compete. `options` are those of the method. The pruned model usually needs some
    fine-tuning. If the model is small enough already, it is not pruned; this is logged, or warned of without `log`.

    Raises `UserError` for a missing or unreachable target, an unknown method or option, and a model that does not run,
    before or after pruning.
    """
    if macs is None and params is None:
        raise UserError("pruning needs a target: give macs or params, as a fraction (0.5) or a count (200k).")
    criterion = registry.find("prune", method)
    options = registry.bind("prune", method, options)
    if scope not in get_args(Scope):
        raise unknown("scope of pruning", scope, get_args(Scope))
    batches = list(batches)
    example = _example(model.preprocessing).to(next(model.module.parameters()).device)
    with _as_user_errors():
        table = trace(model.module, example)
    sizes = {"macs": table.macs(), "params": table.params()}
    targets = {name: target for name, target in (("macs", macs), ("params", params)) if target is not None}
    limits = {name: Size.parse(target, what=name).of(sizes[name]) for name, target in targets.items()}
    if all(sizes[name] <= limit for name, limit in limits.items()):
        (log or _warn)(_small_enough(sizes, limits))
        with _as_user_errors():
            return replace(model, module=copy_module(model.module))
    scores = criterion(model.module, batches, table, **options)
    kept = select_channels(scores, table, scope=scope, **limits)
    with _as_user_errors():
        smaller = compensate(model.module, table, kept, batches) if batches else drop(model.module, table, kept)
        expected, outputs = (compute_outputs(copy_module(one).eval(), example) for one in (model.module, smaller))
    if [one.shape for one in outputs] != [one.shape for one in expected]:
        raise UserError("the network cannot be pruned to this size: its outputs change shape. Try another size.")
    if batches:
        reestimate_batchnorm(smaller, batches)
    smaller.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return replace(model, module=smaller)


@contextmanager
def _as_user_errors() -> Iterator[None]:
    """Turn the `ValueError` of a network that fails into a `UserError` of one line."""
    try:
        yield
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from error


def _small_enough(sizes: Mapping[str, int], limits: Mapping[str, float]) -> str:
    units = {"macs": "MACs", "params": "parameters"}
    parts = [f"has {sizes[name]:,} {units[name]} (target: {limit:,.0f})" for name, limit in limits.items()]
    return f"nothing to prune: the network {' and '.join(parts)}"


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)


def _example(size: Preprocessing) -> Tensor:
    """Return an image of noise: a blank one would hide what an operation does."""
    shape = (1, size.channels, size.resolution, size.resolution)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))
