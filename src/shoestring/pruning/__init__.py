"""Which channels pay their way: a trained model becomes a smaller one."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, get_args

import torch
from torch import Tensor

from shoestring.channels import compensate, drop, trace
from shoestring.channels.trial import copied, outputs
from shoestring.config import registry
from shoestring.config.units import parse_size
from shoestring.errors import UserError, unknown
from shoestring.models import Model, Preprocessing
from shoestring.models.batchnorm import recalibrate
from shoestring.pruning.allocate import Scope, choose

__all__ = ["choose", "shrink"]


def shrink(
    model: Model,
    batches: Iterable[Tensor],
    *,
    method: str = "magnitude",
    macs: str | float | None = None,
    params: str | float | None = None,
    scope: Scope = "global",
    log: Callable[[str], None] | None = None,
    **options: Any,
) -> Model:
    """A new model with fewer channels in real smaller tensors; the given one stays as it is.

    `batches` are prepared images (N, C, R, R), without labels: criteria may look at activations, the layers that lose
    channels make up for them by least squares, and batch norms are set anew. Without any, channels are just dropped.
    `macs` (multiply-accumulates for one image) and `params` are fractions of the given model (0.5) or counts ("200k",
    "12M", or a number from 1000 on). With the scope "uniform" every group of channels loses the same fraction, with
    "global" all channels compete. `options` are those of the method. Accuracy usually needs some training afterwards.
    Where the model is small enough already, nothing is cut, and `say` is told so; without `say` it is a `UserWarning`.

    Raises `UserError` for a missing or unreachable target, for an unknown method or option, and for a model that does
    not run, before or after the cut.
    """
    if macs is None and params is None:
        raise UserError("pruning needs a target: give macs or params, as a share (0.5) or a number (200k).")
    criterion = registry.find("prune", method)
    options = registry.bind("prune", method, options)
    if scope not in get_args(Scope):
        raise unknown("scope of pruning", scope, get_args(Scope))
    batches = list(batches)
    size, device = model.preprocessing, next(model.module.parameters()).device
    example = _example(size).to(device)
    with _told():
        table = trace(model.module, example)
    sizes = {"macs": table.macs(), "params": table.params()}
    wanted = {"macs": macs, "params": params}
    limits = {name: _absolute(own, sizes[name], name) for name, own in wanted.items() if own is not None}
    if all(sizes[name] <= limit for name, limit in limits.items()):
        (log or _warn)(_enough(sizes, limits))
        with _told():
            return replace(model, module=copied(model.module))
    scores = criterion(model.module, batches, table, **options)
    kept = choose(scores, table, scope=scope, **limits)
    with _told():
        smaller = compensate(model.module, table, kept, batches) if batches else drop(model.module, table, kept)
        expected, found = (outputs(copied(module).eval(), example) for module in (model.module, smaller))
    if [one.shape for one in found] != [one.shape for one in expected]:
        raise UserError("the network does not bear this cut: its outputs have other shapes. Try another size.")
    if batches:
        recalibrate(smaller, batches)
    smaller.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return replace(model, module=smaller)


@contextmanager
def _told() -> Iterator[None]:
    """What a network fails of is told in one line."""
    try:
        yield
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from error


def _enough(sizes: dict[str, int], limits: dict[str, float]) -> str:
    units = {"macs": "MACs", "params": "parameters"}
    told = [f"has {sizes[name]:,} {units[name]}, and {limit:,.0f} are allowed" for name, limit in limits.items()]
    return f"nothing is cut: the network {' and '.join(told)}"


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=3)


def _example(size: Preprocessing) -> Tensor:
    """An image of noise: what an operation does shows on it, as it would not on a blank one."""
    shape = (1, size.channels, size.resolution, size.resolution)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _absolute(wanted: str | float, whole: int, name: str) -> float:
    value, fraction = parse_size(wanted, what=name)
    return value * whole if fraction else value
