"""Pruning by a first-order Taylor expansion of the loss."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import repeat

import torch
from torch import Tensor, nn
from torch.nn import functional

from shoestring.channels import Table
from shoestring.channels.copying import copy_module
from shoestring.models.head_modules import class_scores
from shoestring.pruning.scoring import completed, images_of

_PART = 16  # images whose gradient is taken together


def taylor(
    model: nn.Module, batches: Iterable[Tensor], table: Table, *, labels: Sequence[Tensor] | None = None
) -> dict[str, Tensor]:
    """Prune channels whose removal changes the loss least, by its gradient (Molchanov et al. 2019).

    The change of the loss if a channel is set to zero is, to first order, the sum of weight times gradient over all
    weights that read it. The score is the square of this sum, averaged over small batches of calibration images.
    `labels` (N,), int64, are those of each batch; without any, they are the classes that the network predicts. Returns
    float (size,) for each group of the table. `batches` are images (N, C, H, W).
    """
    copied = copy_module(model).eval()
    weights = dict(copied.named_parameters())
    for weight in weights.values():
        weight.requires_grad_(True)
    readers = [axis for axis in table.axes if axis in table.consumers and axis[0] in weights]
    totals, parts = torch.zeros(table.size), 0
    for images, classes in zip(images_of(batches, "taylor"), repeat(None) if labels is None else labels):
        for start in range(0, len(images), _PART):
            scores = class_scores(copied(images[start : start + _PART]))
            own = scores.argmax(1) if classes is None else classes[start : start + _PART].to(scores.device)
            loss = functional.cross_entropy(scores, own)
            gradients = torch.autograd.grad(loss, [weights[name] for name, _ in readers], allow_unused=True)
            totals += _changes(table, weights, readers, gradients).square()
            parts += 1
    scores = table.split(totals / max(parts, 1))
    return completed({name: own for name, own in scores.items() if own.any()}, model, table)


def _changes(
    table: Table,
    weights: dict[str, nn.Parameter],
    readers: Sequence[tuple[str, int]],
    gradients: Sequence[Tensor | None],
) -> Tensor:
    """Return the sum of weight times gradient over the weights that read each channel of the table (size,)."""
    changes = torch.zeros(table.size)
    for (name, dim), gradient in zip(readers, gradients):
        if gradient is not None:
            products = (weights[name].detach() * gradient).transpose(0, dim).flatten(1).sum(1).float().cpu()
            ids = table.axes[name, dim]
            changes.index_add_(0, ids[ids >= 0], products[ids >= 0])
    return changes
