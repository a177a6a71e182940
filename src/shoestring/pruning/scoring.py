"""Scores of channels: by a criterion, and from the tensors that produce and read them."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from shoestring.channels import Axis, Table
from shoestring.channels.table import named_tensors
from shoestring.config import registry
from shoestring.errors import UserError


def score_channels(
    model: nn.Module,
    batches: Sequence[Tensor],
    table: Table,
    *,
    method: str,
    options: Mapping[str, Any],
    labels: Sequence[Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return the scores (size,) of each group by a criterion; it gets the labels of the batches if it uses any."""
    criterion = registry.find("prune", method)
    known = {"labels": labels} if "labels" in inspect.signature(criterion).parameters else {}
    return criterion(model, batches, table, **known, **options)


def images_of(batches: Iterable[Tensor], method: str) -> list[Tensor]:
    """Return batches as a list. Raises `UserError` if there are none, for a criterion that needs images."""
    batches = list(batches)
    if not batches:
        raise UserError(f"the pruning method '{method}' needs calibration images: pass batches, or use magnitude.")
    return batches


def magnitudes(model: nn.Module, table: Table, norm: str = "l2") -> Tensor:
    """Return for every channel of the table (size,) the norm of its filters times that of the weights that read it."""
    producers = [axis for group in table.groups.values() for axis in group.producers]
    consumers = [axis for group in table.groups.values() for axis in group.consumers]
    filters, readers = (relative_norms(model, table, axes, norm) for axes in (producers, consumers))
    return filters * readers


def relative_norms(model: nn.Module, table: Table, axes: Iterable[Axis], norm: str = "l2") -> Tensor:
    """Return for every channel of the table (size,) the sum of the norms of its slices along these axes.

    The norms of each axis are divided by their mean.
    """
    tensors = named_tensors(model)
    totals = torch.zeros(table.size)
    for name, dim in dict.fromkeys(axes):
        slices = tensors[name].detach().transpose(0, dim).flatten(1).float().cpu()
        norms = slices.norm(p=1 if norm == "l1" else 2, dim=1)
        if not tensors[name].requires_grad:  # norms of fixed weights, such as whitening filters, are not informative
            norms = torch.ones_like(norms)
        ids = table.axes[name, dim]
        totals.index_add_(0, ids[ids >= 0], (norms / norms.mean().clamp_min(1e-30))[ids >= 0])
    return totals


def completed(scores: dict[str, Tensor], model: nn.Module, table: Table) -> dict[str, Tensor]:
    """Return scores (size,) of all groups, in the order of the table: groups without any are scored by magnitude."""
    if scores.keys() == table.groups.keys():
        return {name: scores[name] for name in table.groups}
    return {name: scores.get(name, rest) for name, rest in table.split(magnitudes(model, table)).items()}
