"""Round numbers of channels where a training step of the pruned network takes less time then, as measured."""

from __future__ import annotations

import time
from collections.abc import Callable

from torch import nn

from shoestring.channels import Kept, Table, drop
from shoestring.pruning.inputs import as_user_errors
from shoestring.pruning.rounding import MULTIPLES

ROUNDS = 4  # in which each network is timed once; the first one is not counted
STEPS = ROUNDS * (1 + len(MULTIPLES))  # that are run at most
_GAIN = 0.95  # fraction of the time per MAC below which numbers are rounded


def rounded_if_faster(
    module: nn.Module,
    table: Table,
    kept: Kept,
    rounded: Callable[[Kept, int], Kept],
    step: Callable[[nn.Module], None],
) -> Kept:
    """Return the channels to keep, their numbers rounded to multiples of 4 or 8 if a `step` takes less time then.

    What counts is the least time for each multiply-accumulate, over rounds in which the networks take turns. `rounded`
    returns channels to keep with their numbers rounded to a multiple. Raises `UserError` if the network cannot be cut.
    """
    choices = {_counts(kept): kept}
    for multiple in MULTIPLES:
        other = rounded(kept, multiple)
        choices.setdefault(_counts(other), other)
    if len(choices) == 1:
        return kept
    with as_user_errors():
        networks = {counts: drop(module, table, choice) for counts, choice in choices.items()}
    try:
        rounds = [{counts: _seconds(network, step) for counts, network in networks.items()} for _ in range(ROUNDS)]
    except RuntimeError:  # as memory is short, or the network does not run, which is reported when it is cut
        return kept
    seconds = {counts: min(times[counts] for times in rounds[1:]) for counts in choices}
    costs = {counts: seconds[counts] / max(table.macs(choice), 1) for counts, choice in choices.items()}
    best = min(costs, key=costs.__getitem__)
    return choices[best] if costs[best] < _GAIN * costs[_counts(kept)] else kept


def _counts(kept: Kept) -> tuple[tuple[str, int], ...]:
    return tuple((name, len(own)) for name, own in kept.items())


def _seconds(network: nn.Module, step: Callable[[nn.Module], None]) -> float:
    start = time.perf_counter()
    step(network)
    return time.perf_counter() - start
