"""From channel scores to the channels to keep."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from shoestring.channels import Kept, Table
from shoestring.errors import UserError

Scope = Literal["uniform", "global"]


def select_channels(
    scores: Mapping[str, Tensor],
    table: Table,
    *,
    macs: float | None = None,
    params: float | None = None,
    scope: Scope = "global",
) -> dict[str, Tensor]:
    """Return the indices of the channels to keep in each group, in ascending order: as many as the targets allow.

    `scores` has one number per channel of each group; high scores are kept. `macs` (multiply-accumulates per image) and
    `params` are absolute. With the scope "uniform" every group loses the same fraction; with "global" channels compete
    across groups by their score divided by the mean score of their group. Every group keeps at least its best channel.
    Raises `UserError` if a target cannot be reached.
    """
    assert scores.keys() == table.groups.keys() and all(len(scores[n]) == g.size for n, g in table.groups.items())
    ranks = torch.cat([torch.empty(0), *(_ranks(scores[name], scope) for name in table.groups)])
    order = ranks.argsort(stable=True)

    def fits(channels: Tensor) -> bool:
        kept = _by_group(channels, table)
        return (macs is None or table.macs(kept) <= macs) and (params is None or table.params(kept) <= params)

    low, high = len(scores), len(order)
    if not fits(order[:low]):
        raise _unreachable(table, _by_group(order[:low], table), macs=macs, params=params)
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(order[:middle]) else (low, middle - 1)
    selected = order[:low]
    for channel in _next_of_each_group(order[low:], table):  # the first is too expensive, but a cheaper one may fit
        candidate = torch.cat([selected, channel[None]])
        selected = candidate if fits(candidate) else selected
    return _by_group(selected, table)


def _ranks(scores: Tensor, scope: Scope) -> Tensor:
    """Return the sort key of each channel of a group (size,): low ones are kept first, and the best one always."""
    order = scores.argsort(descending=True, stable=True)
    ranks = torch.empty(len(scores))
    if scope == "uniform":
        ranks[order] = torch.arange(len(scores)) / len(scores)
    else:
        ranks = -scores.float() / scores.float().mean().clamp_min(1e-30)
    ranks[order[0]] = -torch.inf
    return ranks


def _next_of_each_group(channels: Tensor, table: Table) -> list[Tensor]:
    """Return the first channel of each group among these, in order."""
    starts = torch.tensor([group.start for group in table.groups.values()])
    owners = torch.bucketize(channels, starts, right=True).tolist()
    return [channels[owners.index(owner)] for owner in dict.fromkeys(owners)]


def _by_group(channels: Tensor, table: Table) -> dict[str, Tensor]:
    """Return the indices of these channel ids within their groups."""
    mask = torch.zeros(table.size, dtype=torch.bool)
    mask[channels] = True
    return {name: own.nonzero()[:, 0] for name, own in table.split(mask).items()}


def _unreachable(table: Table, smallest: Kept, *, macs: float | None, params: float | None) -> UserError:
    costs = {"MACs": (macs, table.macs), "parameters": (params, table.params)}
    causes = [
        f"{target:,.0f} {unit} cannot be reached: with one channel left in every layer {count(smallest):,} remain"
        for unit, (target, count) in costs.items()
        if target is not None and count(smallest) > target
    ]
    notes = f" ({' '.join(table.notes)})" if table.notes else ""
    return UserError(
        f"{'; '.join(causes)} of {table.macs():,} MACs and {table.params():,} parameters.{notes} Set a larger target."
    )
