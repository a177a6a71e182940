"""Pruning by the scale factors of batch normalization."""

from __future__ import annotations

from collections.abc import Iterable

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from shoestring.channels import Table
from shoestring.channels.table import channel_rows
from shoestring.pruning.scoring import completed


def bn_scale(model: nn.Module, batches: Iterable[Tensor], table: Table) -> dict[str, Tensor]:
    """Prune channels that batch normalization scales by small factors (network slimming, Liu et al. 2017).

    The score is the mean of the absolute factors over all batch norms of a channel. Groups whose channels meet no batch
    norm with trainable factors are scored by magnitude. Returns float (size,) for each group of the table. `batches` is
    not used.
    """
    factors = {
        f"{name}.weight".lstrip("."): layer.weight
        for name, layer in model.named_modules()
        if isinstance(layer, _BatchNorm) and layer.weight is not None and layer.weight.requires_grad
    }
    scores = {}
    for name, group in table.groups.items():
        axes = [axis for axis in table.axes if axis[0] in factors]
        rows = [rows for axis in axes if (rows := channel_rows(factors[axis[0]], table, axis, group)) is not None]
        if rows:
            scores[name] = sum(own.abs().mean(1) for own in rows).float() / len(rows)  # type: ignore[union-attr]
    return completed(scores, model, table)
