"""Numbers of channels with which a training step of a pruned network takes less time, as measured."""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from shoestring.channels import Kept, Table, drop
from shoestring.pruning.rounding import MULTIPLES
from shoestring.runtime.timing import min_seconds

_SECONDS = 0.4  # of timing per network
_GAIN = 0.95  # fraction of the time per MAC below which numbers are rounded


def rounded_if_faster(
    module: nn.Module,
    table: Table,
    kept: Kept,
    rounded: Callable[[Kept, int], Kept],
    step: Callable[[nn.Module], None],
) -> Kept:
    """Return the channels to keep, their numbers rounded to multiples of 4 or 8 if a `step` takes less time then.

    What counts is the time for each multiply-accumulate. `rounded` returns channels to keep with their numbers rounded
    to a multiple.
    """

    def seconds_per_mac(kept: Kept) -> float:
        smaller = drop(module, table, kept)
        return min_seconds(lambda: step(smaller), _SECONDS) / max(table.macs(kept), 1)

    best, least = kept, _GAIN * seconds_per_mac(kept)
    for multiple in MULTIPLES:
        other = rounded(kept, multiple)
        if (seconds := seconds_per_mac(other)) < least:
            best, least = other, seconds
    return best
