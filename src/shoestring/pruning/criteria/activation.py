"""Pruning by activations."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from shoestring.channels import Table
from shoestring.channels.grams import input_grams
from shoestring.channels.table import channel_rows, named_tensors
from shoestring.pruning.scoring import completed, images_of


def activation(model: nn.Module, batches: Iterable[Tensor], table: Table) -> dict[str, Tensor]:
    """Prune channels that contribute little to the layers that read them: activations times weights (Sun et al. 2024).

    The score is the root mean square of a channel's activations on calibration images times the norm of the weights
    that read it, as Wanda does for single weights. It is relative to the mean of each layer, and summed over all layers
    that read the channel. Groups that only convolutions with groups read are scored by magnitude. Returns float (size,)
    for each group of the table. `batches` are images (N, C, H, W).
    """
    tensors, scores = named_tensors(model), dict[str, Tensor]()
    for (axis, name), gram in input_grams(model, table, images_of(batches, "activation")).items():
        weights = channel_rows(tensors[axis[0]], table, axis, table.groups[name])
        assert weights is not None
        contributions = gram.diagonal().cpu().sqrt() * weights.norm(dim=1)
        relative = (contributions / contributions.mean().clamp_min(1e-30)).float()
        scores[name] = scores.get(name, torch.zeros(len(relative))) + relative
    return completed(scores, model, table)
