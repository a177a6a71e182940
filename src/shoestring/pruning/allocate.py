"""From a score for every channel to the channels that stay."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor

from shoestring.channels import Kept, Table
from shoestring.errors import UserError

Scope = Literal["uniform", "global"]


def choose(
    scores: Mapping[str, Tensor],
    table: Table,
    *,
    macs: float | None = None,
    params: float | None = None,
    scope: Scope = "global",
) -> dict[str, Tensor]:
    """The indices of each group's channels to keep, as many as the targets allow, in ascending order.

    `scores` has one number per channel of each group, high ones stay. `macs` (multiply-accumulates for one image) and
    `params` are absolute. With the scope "uniform" every group loses the same share; with "global" channels compete
    across groups by score over the mean score of their group. `UserError` when a target is too small to reach.
    """
    assert scores.keys() == table.groups.keys() and all(len(scores[n]) == g.size for n, g in table.groups.items())
    places = torch.cat([torch.empty(0), *(_places(scores[name], scope) for name in table.groups)])
    order = places.argsort(stable=True)

    def fits(channels: Tensor) -> bool:
        kept = _by_group(channels, table)
        return (macs is None or table.macs(kept) <= macs) and (params is None or table.params(kept) <= params)

    least, most = len(scores), len(order)
    if not fits(order[:least]):
        raise _unreachable(table, _by_group(order[:least], table), macs=macs, params=params)
    while least < most:
        middle = (least + most + 1) // 2
        least, most = (middle, most) if fits(order[:middle]) else (least, middle - 1)
    stay = order[:least]
    for channel in _next_in_line(order[least:], table):  # the first is too dear, which may leave room for a cheaper one
        longer = torch.cat([stay, channel[None]])
        stay = longer if fits(longer) else stay
    return _by_group(stay, table)


def _places(scores: Tensor, scope: Scope) -> Tensor:
    """Where each channel of a group stands in the queue of all channels (size,): low ones stay; the best one always."""
    order = scores.argsort(descending=True, stable=True)
    places = torch.empty(len(scores))
    if scope == "uniform":
        places[order] = torch.arange(len(scores)) / len(scores)
    else:
        places = -scores.float() / scores.float().mean().clamp_min(1e-30)
    places[order[0]] = -torch.inf
    return places


def _next_in_line(queue: Tensor, table: Table) -> list[Tensor]:
    """The first channel of each group in what is left of the queue."""
    starts = torch.tensor([group.start for group in table.groups.values()])
    owners = torch.bucketize(queue, starts, right=True).tolist()
    return [queue[owners.index(owner)] for owner in dict.fromkeys(owners)]


def _by_group(channels: Tensor, table: Table) -> dict[str, Tensor]:
    """The indices within their groups of these channels of the table."""
    stays = torch.zeros(table.size, dtype=torch.bool)
    stays[channels] = True
    return {name: own.nonzero()[:, 0] for name, own in table.split(stays).items()}


def _unreachable(table: Table, smallest: Kept, *, macs: float | None, params: float | None) -> UserError:
    costs = {"MACs": (macs, table.macs), "parameters": (params, table.params)}
    told = [
        f"{wanted:,.0f} {unit} cannot be reached: with one channel left in every layer {count(smallest):,} remain"
        for unit, (wanted, count) in costs.items()
        if wanted is not None and count(smallest) > wanted
    ]
    why = f" ({' '.join(table.notes)})" if table.notes else ""
    return UserError(
        f"{'; '.join(told)} of {table.macs():,} MACs and {table.params():,} parameters.{why} Ask for more."
    )
