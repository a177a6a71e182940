"""Pruning a model to a target size."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, TypeAlias, get_args

import torch
from torch import Tensor

from shoestring.channels import Kept, Table, drop, refit, trace
from shoestring.channels import compensate as refit_readers
from shoestring.channels.copying import copy_module
from shoestring.channels.grams import input_grams
from shoestring.channels.outputs import compute_outputs
from shoestring.config import registry
from shoestring.config.keep_channels import KeepChannels
from shoestring.config.units import Duration, Size, format_milliseconds
from shoestring.errors import UserError, unknown
from shoestring.models import Model
from shoestring.models.batchnorm import reestimate_batchnorm
from shoestring.pruning.allocate import Scope, select_channels
from shoestring.pruning.inputs import as_user_errors, check_batches, check_labels, example_image
from shoestring.pruning.latency import LatencySearch, Measurement
from shoestring.pruning.limits import Limit, channel_counts, size_limits
from shoestring.pruning.rounding import round_channels
from shoestring.pruning.scoring import score_channels
from shoestring.pruning.sensitivity import predicted_scores, scan_sensitivity
from shoestring.pruning.step_times import rounded_if_faster

SizeTarget: TypeAlias = Size | str | float | None


def shrink(  # noqa: PLR0913 (public: keywords with defaults)
    model: Model,
    batches: Iterable[Tensor],
    *,
    method: str = "magnitude",
    macs: SizeTarget = None,
    params: SizeTarget = None,
    file_size: SizeTarget = None,
    latency: Duration | str | float | None = None,
    keep_channels: KeepChannels | str | None = None,
    scope: Scope = "global",
    compensate: bool = True,
    labels: Sequence[Tensor] | None = None,
    log: Callable[[str], None] | None = None,
    on_measured: Callable[[Measurement], object] = lambda measurement: None,
    step: Callable[[torch.nn.Module], None] | None = None,
    **options: Any,
) -> Model:
    """Return a new model with fewer channels, in smaller tensors; the given one is not changed.

    `batches` are preprocessed images (N, C, R, R), for criteria that use activations, to re-estimate batch-norm
    statistics, and, with `compensate`, to refit the remaining weights by least squares to what the layers computed
    before. `labels` (N,), int64, of each batch are for criteria that use any. Without batches, channels are just
    dropped.

    `macs` (multiply-accumulates per image) and `params` are fractions of the given model (0.5) or counts ("200k",
    "12M", or a number from 1000), `file_size` a fraction or bytes ("300kB"), `latency` a duration ("2ms" or seconds) in
    ONNX Runtime on one thread of this machine. `keep_channels` is the fraction of channels to keep, of all layers or by
    layer. With the scope "uniform" every group of channels loses the same fraction, with "global" all channels compete
    by their scores, with "search" the predicted loss is least. For a latency, numbers of channels are rounded to
    multiples of 4 or 8 if that is faster as measured; `on_measured` is called with each network that was measured.
    Without a latency, they are if `step` is given, which runs a training step of a network, and takes less time then.
    `options` are those of the method. The pruned model usually needs some fine-tuning. If the model is small enough
    already, it is not pruned; this is logged, or warned of without `log`.

    Raises `UserError` for a missing or unreachable target, an unknown method, layer or option, batches of the wrong
    shape, and a model that does not run, before or after pruning.
    """
    sizes: dict[str, SizeTarget] = {"macs": macs, "params": params, "file_size": file_size}
    if all(target is None for target in (*sizes.values(), latency, keep_channels)):
        raise UserError(
            "pruning needs a target: give macs or params, as a fraction (0.5) or a count (200k), file_size, latency or "
            "keep_channels."
        )
    registry.find("prune", method)
    options = registry.bind("prune", method, options)
    if scope not in get_args(Scope):
        raise unknown("scope of pruning", scope, get_args(Scope))
    milliseconds = None if latency is None else 1000 * Duration(latency)
    batches, example = check_batches(batches, model.preprocessing), example_image(model)
    check_labels(labels, batches, len(model.classes))
    with as_user_errors():
        table = trace(model.module, example)
    limits, counts = size_limits(model.module, table, sizes), channel_counts(table, keep_channels)
    if not counts and latency is None and all(limit.fits() for limit in limits):
        return _unchanged(model, limits, None, log or _warn)
    scores = score_channels(model.module, batches, table, method=method, options=options, labels=labels)
    if scope == "search":
        scores = _predicted(model, batches, table, scores, limits=limits, compensate=compensate)
    choose = partial(_choose, scores, table, scope=scope, limits=limits, counts=counts)
    rounded = partial(round_channels, scores=scores, table=table, limits=limits, fixed=counts)
    if milliseconds is not None:
        kept = LatencySearch(model.module, table, example, choose, rounded, on_measured)(milliseconds)
    elif step is not None:
        kept = rounded_if_faster(model.module, table, choose(), rounded, step)
    else:
        kept = choose()
    if all(len(own) == table.groups[name].size for name, own in kept.items()):
        return _unchanged(model, limits, milliseconds, log or _warn)
    return replace(model, module=_cut(model, table, kept, batches, example, compensate=compensate))


def _choose(
    scores: dict[str, Tensor], table: Table, macs: float | None = None, *, limits: Sequence[Limit], **how: Any
) -> Kept:
    """Return the channels to keep within the limits, and within a number of MACs."""
    return select_channels(scores, table, limits=limits, macs=macs, **how)


def _predicted(
    model: Model,
    batches: Sequence[Tensor],
    table: Table,
    scores: dict[str, Tensor],
    *,
    limits: Sequence[Limit],
    compensate: bool,
) -> dict[str, Tensor]:
    """Return scores that predict the loss by a scan of all groups on the batches."""
    if not batches:
        raise UserError("the scope search compares predictions on images, and there are none: pass batches.")
    limits = limits or [Limit("MACs", table.macs(), table.macs)]  # a latency, which roughly follows the MACs
    grams = input_grams(model.module, table, batches) if compensate else {}
    scan = scan_sensitivity(model.module, table, scores, grams, (batches, None))
    return predicted_scores(scan, scores, table, limits)


def _cut(
    model: Model, table: Table, kept: Kept, batches: Sequence[Tensor], example: Tensor, *, compensate: bool
) -> torch.nn.Module:
    """Return the network with these channels; `compensate` refits its weights. Batch norms are re-estimated."""
    compensate = compensate and bool(batches)
    with as_user_errors():
        smaller = refit_readers(model.module, table, kept, batches) if compensate else drop(model.module, table, kept)
        expected, outputs = (compute_outputs(copy_module(one).eval(), example) for one in (model.module, smaller))
    if [one.shape for one in outputs] != [one.shape for one in expected]:
        raise UserError("the network cannot be pruned to this size: its outputs change shape. Try another size.")
    if compensate:
        refit(smaller, model.module, table, kept, batches)
    if batches:
        reestimate_batchnorm(smaller, batches)
    return smaller.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _unchanged(model: Model, limits: Sequence[Limit], milliseconds: float | None, log: Callable[[str], None]) -> Model:
    """Return a copy of the model, and log why nothing was pruned."""
    sizes = [f"has {limit.count(None):,} {limit.unit} (target: {limit.most:,.0f})" for limit in limits]
    if milliseconds is not None:
        sizes.append(f"takes less than {format_milliseconds(milliseconds)} per image")
    log(f"nothing to prune: the network {' and '.join(sizes) or 'keeps all channels'}")
    with as_user_errors():
        return replace(model, module=copy_module(model.module))


def _warn(text: str) -> None:
    warnings.warn(text, stacklevel=4)
