"""From channel scores to the channels to keep."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from shoestring.channels import Kept, Table
from shoestring.errors import UserError
from shoestring.pruning.limits import Limit

Scope = Literal["global", "uniform", "search"]


def select_channels(
    scores: Mapping[str, Tensor],
    table: Table,
    *,
    macs: float | None = None,
    params: float | None = None,
    scope: Scope = "global",
    limits: Sequence[Limit] = (),
    counts: Mapping[str, int] | None = None,
) -> dict[str, Tensor]:
    """Return the indices of the channels to keep in each group, in ascending order: as many as the targets allow.

    `scores` has one number per channel of each group; high scores are kept. `macs` (multiply-accumulates per image) and
    `params` are absolute; `limits` are further ones. With the scope "uniform" every group loses the same fraction; with
    "global" channels compete across groups by their score divided by the mean score of their group; with "search" by
    the scores as they are. Groups in `counts` keep exactly so many channels, all others at least their best one. Raises
    `UserError` if a target cannot be reached.
    """
    assert scores.keys() == table.groups.keys() and all(len(scores[n]) == g.size for n, g in table.groups.items())
    limits = [*_limits(table, macs, params), *limits]
    fixed = counts or {}
    ranks = [
        _fixed_ranks(scores[name], fixed[name]) if name in fixed else _ranks(scores[name], scope)
        for name in table.groups
    ]
    order, low, high = _order(torch.cat([torch.empty(0), *ranks]))

    def fits(channels: Tensor) -> bool:
        kept = _by_group(channels, table)
        return all(limit.fits(kept) for limit in limits)

    if not fits(order[:low]):
        raise _unreachable(table, _by_group(order[:low], table), limits, fixed)
    order = order[:high]
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(order[:middle]) else (low, middle - 1)
    selected = order[:low]
    for channel in _next_of_each_group(order[low:], table):  # the first is too expensive, but a cheaper one may fit
        candidate = torch.cat([selected, channel[None]])
        selected = candidate if fits(candidate) else selected
    return _by_group(selected, table)


def _limits(table: Table, macs: float | None, params: float | None) -> list[Limit]:
    given = [("MACs", macs, table.macs), ("parameters", params, table.params)]
    return [Limit(unit, most, count) for unit, most, count in given if most is not None]


def _ranks(scores: Tensor, scope: Scope) -> Tensor:
    """Return the sort key of each channel of a group (size,): low ones are kept first, and the best one always."""
    order = scores.argsort(descending=True, stable=True)
    ranks = torch.empty(len(scores))
    if scope == "uniform":
        ranks[order] = torch.arange(len(scores)) / len(scores)
    else:
        ranks = -scores.float()
        if scope == "global":
            ranks = ranks / scores.float().mean().clamp_min(1e-30)
    ranks[order[0]] = -torch.inf
    return ranks


def _fixed_ranks(scores: Tensor, count: int) -> Tensor:
    """Return sort keys (size,) with which the best `count` channels are kept, and no others."""
    ranks = torch.full((len(scores),), torch.inf)
    ranks[scores.argsort(descending=True, stable=True)[:count]] = -torch.inf
    return ranks


def _order(ranks: Tensor) -> tuple[Tensor, int, int]:
    """Return the channels in the order in which they are kept, and how many of them at least and at most."""
    return ranks.argsort(stable=True), int((ranks == -torch.inf).sum()), int((ranks < torch.inf).sum())


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


def _unreachable(table: Table, smallest: Kept, limits: Sequence[Limit], fixed: Mapping[str, int]) -> UserError:
    left = (
        "with the channels to keep, and one in every other layer," if fixed else "with one channel left in every layer"
    )
    causes = [
        f"{limit.most:,.0f} {limit.unit} cannot be reached: {left} {limit.count(smallest):,} remain"
        for limit in limits
        if not limit.fits(smallest)
    ]
    notes = f" ({' '.join(table.notes)})" if table.notes else ""
    total = f"{table.macs():,} MACs and {table.params():,} parameters"
    total += "".join(f" and {limit.count(None):,} bytes" for limit in limits if limit.unit == "bytes")
    return UserError(f"{'; '.join(causes)} of {total}.{notes} Set a larger target.")
