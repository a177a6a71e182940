"""Numbers of channels rounded to multiples that suit vector instructions."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from torch import Tensor

from shoestring.channels import Kept, Table
from shoestring.pruning.limits import Limit

MULTIPLES = (4, 8)


def round_channels(
    kept: Kept,
    multiple: int,
    scores: Mapping[str, Tensor],
    table: Table,
    *,
    limits: Sequence[Limit] = (),
    fixed: Collection[str] = (),
) -> dict[str, Tensor]:
    """Return the channels to keep with the number of each group rounded to the nearest multiple, by their scores.

    Groups that keep all of their channels, and `fixed` ones, stay as they are. If a limit is exceeded then, numbers are
    rounded down instead, and up again where the limits allow it, first where rounding down costs most; then groups with
    fewer channels than the multiple keep those.
    """
    counts = {name: len(own) for name, own in kept.items()}
    free = [name for name, count in counts.items() if name not in fixed and count < table.groups[name].size]
    nearest = {name: min(max(1, _half_up(counts[name], multiple)) * multiple, table.groups[name].size) for name in free}
    rounded = _best(kept, counts | nearest, scores)
    if all(limit.fits(rounded) for limit in limits):
        return rounded
    down = {name: counts[name] // multiple * multiple or counts[name] for name in free}
    rounded = _best(kept, counts | down, scores)
    for name in sorted(free, key=lambda name: down[name] / counts[name]):
        up = min(down[name] + multiple, table.groups[name].size)
        if multiple <= down[name] < counts[name]:
            larger = rounded | _best({name: kept[name]}, {name: up}, scores)
            rounded = larger if all(limit.fits(larger) for limit in limits) else rounded
    return rounded


def _half_up(count: int, multiple: int) -> int:
    return (2 * count + multiple) // (2 * multiple)


def _best(kept: Kept, counts: Mapping[str, int], scores: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return so many channels of each group, those with the highest scores, in ascending order."""
    return {
        name: own
        if counts[name] == len(own)
        else scores[name].argsort(descending=True, stable=True)[: counts[name]].sort().values
        for name, own in kept.items()
    }
