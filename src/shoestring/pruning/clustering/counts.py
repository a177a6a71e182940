"""How many clusters each unit gets: as requested, as few as an error allows, or as many as a target size allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from shoestring.channels import Table
from shoestring.config.clusters import Clusters
from shoestring.errors import UserError, unknown
from shoestring.pruning.allocate import select_channels
from shoestring.pruning.clustering.algorithms import cluster_gains
from shoestring.pruning.clustering.features import Rows
from shoestring.pruning.clustering.units import Unit


def requested_counts(clusters: Clusters, units: Sequence[Unit]) -> dict[str, int]:
    """Return the number of clusters of each unit by its name; units that are not named keep all of their channels.

    A name in `clusters.by_layer` is that of a layer or of a part of the network that contains layers; the longest one
    applies. Raises `UserError` for a name of no unit, and if a number is larger than every unit that it applies to.
    """
    if clusters.everywhere is not None:
        _check(clusters.everywhere, units, "the layers")
        return {unit.name: min(clusters.everywhere, unit.size) for unit in units}
    counts = {unit.name: unit.size for unit in units}
    for name in sorted(clusters.by_layer, key=len):
        matching = [unit for unit in units if _matches(unit, name)]
        if not matching:
            raise unknown("layer to cluster", name, _names(units))
        _check(clusters.by_layer[name], matching, name)
        counts |= {unit.name: min(clusters.by_layer[name], unit.size) for unit in matching}
    return counts


def _check(count: int, units: Sequence[Unit], where: str) -> None:
    largest = max(unit.size for unit in units)
    if count > largest:
        raise UserError(
            f"--clusters {count} is more than the filters of {where}, at most {largest}: set fewer clusters."
        )


def _matches(unit: Unit, name: str) -> bool:
    """Whether the unit is called so, begins with a layer inside of this part, or has a layer of exactly this name."""
    inside = unit.name.partition("#")[0].startswith(f"{name}.")
    return name == unit.name or inside or any(part.layer == name for part in unit.parts)


def _names(units: Sequence[Unit]) -> set[str]:
    names = {unit.name for unit in units}
    return names | {name.partition(".")[0] for name in names}


def fewest_counts(units: Sequence[Unit], rows: Mapping[str, Rows], error: float) -> dict[str, int]:
    """Return the fewest clusters in total that lose at most this fraction of the differences between filters.

    The loss of a unit is the sum of squared distances within its clusters, by Ward's dendrogram, as a fraction of that
    within one cluster; `error` limits the mean over units. A unit whose filters are all equal gets one cluster.
    """
    counts = {unit.name: 1 for unit in units}
    gains: list[tuple[float, str]] = []
    for unit in units:
        further = cluster_gains(rows[unit.name])[1:]
        if total := further.sum():
            gains += [(gain / total, unit.name) for gain in further]
    lost = sum(gain for gain, _ in gains)
    for gain, name in sorted(gains, key=lambda entry: -entry[0]):
        if lost <= error * len(units):
            break
        counts[name] += 1
        lost -= gain
    return counts


def fitting_counts(
    units: Sequence[Unit],
    rows: Mapping[str, Rows],
    table: Table,
    *,
    macs: float | None = None,
    params: float | None = None,
) -> dict[str, int]:
    """Return as many clusters of each unit as the targets allow: where a further cluster reduces the error most.

    `macs` and `params` are absolute. Raises `UserError` if a target cannot be reached.
    """
    names = {unit.name for unit in units}
    table = table.with_frozen(set(table.groups) - names, "channels that meet statistics over channels are not merged.")
    gains = {name: torch.from_numpy(cluster_gains(rows[name])) for name in table.groups}
    kept = select_channels(gains, table, macs=macs, params=params)
    return {name: len(channels) for name, channels in kept.items()}
