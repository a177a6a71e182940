"""Which channels pay their way: a trained model becomes a smaller one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, get_args

import torch
from torch import Tensor

from shoestring import registry
from shoestring.budget import quantity
from shoestring.channels import compensate, drop, trace
from shoestring.errors import UserError, unknown
from shoestring.models import Model, Preprocessing
from shoestring.models.recalibrate import recalibrate
from shoestring.prune.cut import Scope, choose

__all__ = ["choose", "shrink"]


def shrink(
    model: Model,
    batches: Iterable[Tensor],
    *,
    method: str = "magnitude",
    macs: str | float | None = None,
    params: str | float | None = None,
    scope: Scope = "global",
    **options: Any,
) -> Model:
    """A new model with fewer channels in real smaller tensors; the given one stays as it is.

    `batches` are prepared images (N, C, R, R), without labels: criteria may look at activations, the layers that lose
    channels make up for them by least squares, and batch norms are set anew. Without any, channels are just dropped.
    `macs` (multiply-accumulates for one image) and `params` are shares of the given model in (0, 1] or numbers above 1,
    also as "200k" or "12M". With the scope "uniform" every group of channels loses the same share, with "global" all
    channels compete. `options` are those of the method. Accuracy usually needs some training afterwards.

    Raises `UserError` for a missing or unreachable target and for an unknown method or option.
    """
    if macs is None and params is None:
        raise UserError("pruning needs a target: give macs or params, as a share (0.5) or a number (200k).")
    criterion = registry.find("prune", method)
    options = registry.bind("prune", method, options)
    if scope not in get_args(Scope):
        raise unknown("scope of pruning", scope, get_args(Scope))
    batches = list(batches)
    size, device = model.preprocessing, next(model.module.parameters()).device
    table = trace(model.module, _example(size).to(device))
    scores = criterion(model.module, batches, table, **options)
    kept = choose(
        scores,
        table,
        macs=_absolute(macs, table.macs(), "macs"),
        params=_absolute(params, table.params(), "params"),
        scope=scope,
    )
    if batches:
        smaller = compensate(model.module, table, kept, batches)
        recalibrate(smaller, batches)
    else:
        smaller = drop(model.module, table, kept)
    smaller.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return replace(model, module=smaller)


def _example(size: Preprocessing) -> Tensor:
    """An image of noise: what an operation does shows on it, as it would not on a blank one."""
    shape = (1, size.channels, size.resolution, size.resolution)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _absolute(target: str | float | None, whole: int, flag: str) -> float | None:
    if target is None:
        return None
    wanted = quantity(target, what=f"size for {flag}")
    return wanted if wanted > 1 else wanted * whole
