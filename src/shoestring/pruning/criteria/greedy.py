"""Greedy backward elimination with least-squares compensation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from shoestring.channels import Table
from shoestring.channels.grams import input_grams
from shoestring.channels.table import channel_rows, named_tensors
from shoestring.pruning.scoring import completed, images_of

_RIDGE = 1e-4  # relative to the mean energy of a channel
_ROUNDS = 32  # at most one in so many of the remaining channels is removed at once


def greedy(model: nn.Module, batches: Iterable[Tensor], table: Table) -> dict[str, Tensor]:
    """Prune the channel that the others can replace best, one after the other, with least-squares compensation.

    Backward elimination by the reconstruction error of the layers that read the channels (Optimal Brain Surgeon,
    Hassibi & Stork 1993; Optimal Brain Compression, Frantar & Alistarh 2022, for whole channels): removing a channel
    costs the mean squared change of these layers' outputs on calibration images, after their other weights are refitted
    by least squares. Of many channels, several are removed at once. The score is this cost, relative to the mean square
    of the outputs. Groups that only convolutions with groups read are scored by magnitude. Returns float (size,) for
    each group of the table. `batches` are images (N, C, H, W).
    """
    tensors = named_tensors(model)
    moments: dict[str, list[tuple[Tensor, Tensor]]] = {}
    for (axis, name), gram in input_grams(model, table, images_of(batches, "greedy")).items():
        rows = channel_rows(tensors[axis[0]], table, axis, table.groups[name])
        assert rows is not None
        moments.setdefault(name, []).append((gram.cpu(), rows @ rows.T))
    return completed({name: _elimination_costs(own) for name, own in moments.items()}, model, table)


def _elimination_costs(moments: Sequence[tuple[Tensor, Tensor]]) -> Tensor:
    """Return the cost of each channel (size,) at its elimination, not below that of any channel eliminated before.

    `moments` are E[h h'] and W' W (size, size) of each layer, h being its inputs and W its weights. With P the inverse
    of the first for the remaining channels and Q the second for the refitted weights, removing channel i changes the
    outputs by Q_ii / P_ii.
    """
    inverses, products = map(list, zip(*(_prepared(*own) for own in moments)))
    size = len(inverses[0])
    remaining, scores, highest = torch.arange(size), torch.zeros(size, dtype=torch.float64), torch.zeros(())
    while len(remaining):
        costs = torch.stack([q.diagonal() / p.diagonal() for p, q in zip(inverses, products)]).sum(0)
        order = costs.argsort(stable=True)
        out, stay = order.tensor_split([max(1, len(order) // _ROUNDS)])
        stay = stay.sort().values
        scores[remaining[out]] = costs[out].clamp_min(highest)
        highest = torch.maximum(highest, costs[out].max())
        for index, (inverse, product) in enumerate(zip(inverses, products)):
            inverses[index], products[index] = _without(inverse, product, out, stay)
        remaining = remaining[stay]
    return scores.float()


def _prepared(gram: Tensor, product: Tensor) -> tuple[Tensor, Tensor]:
    """Return the regularized inverse of E[h h'], and W' W relative to the mean square of the outputs."""
    energy = (gram * product).sum().clamp_min(1e-30)
    ridge = _RIDGE * gram.diagonal().mean().clamp_min(1e-30)
    return torch.linalg.inv(gram + ridge * torch.eye(len(gram), dtype=gram.dtype)), product / energy


def _without(inverse: Tensor, product: Tensor, out: Tensor, stay: Tensor) -> tuple[Tensor, Tensor]:
    """Return both matrices after the channels `out` are removed, and the others refitted."""
    replacement = torch.linalg.solve(inverse[out][:, out], inverse[out][:, stay])  # h_out ~ -replacement' h_stay
    inverse_left = inverse[stay][:, stay] - inverse[stay][:, out] @ replacement
    cross = replacement.T @ product[out][:, stay]
    product_left = product[stay][:, stay] - cross - cross.T + replacement.T @ product[out][:, out] @ replacement
    return inverse_left, product_left
