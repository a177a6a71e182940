"""Clustering the filters of a model: shared, merged, or to be pulled together by training."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from shoestring.channels import Table, merge, trace
from shoestring.channels.copying import copy_module
from shoestring.config.clusters import Clusters
from shoestring.config.size_sections import Prune
from shoestring.config.units import Size
from shoestring.errors import UserError
from shoestring.models import Model
from shoestring.models.batchnorm import reestimate_batchnorm
from shoestring.pruning.clustering.algorithms import cluster_rows
from shoestring.pruning.clustering.centroids import Pull, write_means
from shoestring.pruning.clustering.counts import fewest_counts, fitting_counts, requested_counts
from shoestring.pruning.clustering.features import Rows, describe
from shoestring.pruning.clustering.units import Unit, group_units, layer_units

Outcome = Literal["merge", "share", "centripetal"]


@dataclass(frozen=True)
class Clustered:
    """A clustered model. `numbers` are the clusters of the channels of each unit.

    The model of the outcome "centripetal" still has all channels: train it with `pull`, and then call `merged`.
    """

    model: Model
    outcome: Outcome
    units: tuple[Unit, ...]
    numbers: Mapping[str, NDArray[np.int64]]
    table: Table | None = None
    norms: bool = True  # whether batch norms are shared, too

    @property
    def counts(self) -> dict[str, tuple[int, int]]:
        """Channels and clusters of each unit."""
        return {unit.name: (unit.size, int(self.numbers[unit.name].max()) + 1) for unit in self.units}

    def pull(self) -> Pull | None:
        """Return what keeps or pulls clusters together during training; None if they are merged already."""
        if self.outcome == "merge":
            return None
        return Pull(self.model.module, self.units, self.numbers, share=self.outcome == "share", norms=self.norms)

    def merged(self, batches: Sequence[Tensor]) -> Model:
        """Return the model with its clusters merged, and batch norms re-estimated on batches (N, C, R, R)."""
        assert self.table is not None
        module = copy_module(self.model.module)
        write_means(module, self.units, self.numbers, fold=False)
        clusters = {name: torch.from_numpy(numbers) for name, numbers in self.numbers.items()}
        smaller = merge(module, self.table, clusters, inplace=True)
        return replace(self.model, module=_finished(smaller, batches))


def cluster(
    model: Model,
    batches: Iterable[Tensor],
    settings: Prune,
    *,
    seed: int = 0,
    log: Callable[[str], None] | None = None,
) -> Clustered:
    """Cluster the filters of a model as the settings say; the given model is not changed.

    `batches` (N, C, R, R) are preprocessed images, without labels, for the comparison of activations and to re-estimate
    batch norms; without any, these are kept. With "share", the filters of every convolution are clustered and replaced
    by the mean of their cluster; the network keeps its size. With "merge" and "centripetal", whole groups of channels
    are clustered, over all layers that produce them, because only then can they be merged.

    Raises `UserError` for unknown layers, more clusters than filters, a target that cannot be reached, a network
    without filters to cluster, and if nothing would change.
    """
    assert settings.clusters is not None
    batches, outcome = list(batches), settings.cluster_outcome
    module, example = model.module, _example(model)
    if settings.cluster_features == "activations" and not batches:
        raise UserError("activations are compared on images: pass some, or set --cluster-features filters.")
    table = None if outcome == "share" else _trace(module, example)
    units = layer_units(module, example, model.heads) if table is None else group_units(module, example, table)
    if not units:
        raise UserError(f"{model.name} has no filters to cluster. {' '.join(table.notes) if table else ''}".rstrip())
    rows = describe(module, units, batches, settings.cluster_features, settings.cluster_metric)
    counts = _counts(settings, settings.clusters, units, rows, table)
    units = [unit for unit in units if counts[unit.name] < unit.size]
    if not units:
        raise UserError(f"--clusters {settings.clusters} changes nothing: every filter would be a cluster.")
    numbers = {
        unit.name: cluster_rows(rows[unit.name], counts[unit.name], settings.cluster_method, seed=seed)
        for unit in units
    }
    plain = settings.cluster_features == "weights"
    copied, norms = replace(model, module=copy_module(module)), not (plain and outcome == "share")
    clustered = Clustered(copied, outcome, tuple(units), _renumbered(numbers), table, norms)
    if log is not None:
        before, after = (sum(sizes) for sizes in zip(*clustered.counts.values()))
        log(f"{before:,} filters of {len(units)} {'layers' if table is None else 'groups'} in {after:,} clusters")
    if outcome != "centripetal":
        write_means(copied.module, units, clustered.numbers, fold=not plain, norms=norms)
        if outcome == "merge":
            return replace(clustered, model=clustered.merged(batches))
        _finished(copied.module, batches)
    return clustered


def _example(model: Model) -> Tensor:
    """Return an image of noise."""
    size = model.preprocessing
    shape = (1, size.channels, size.resolution, size.resolution)
    noise = torch.randn(shape, generator=torch.Generator().manual_seed(0))
    return noise.to(next(model.module.parameters()).device)


def _trace(module: nn.Module, example: Tensor) -> Table:
    """Return the channel table. Raises `UserError` for a network that does not run."""
    try:
        return trace(module, example)
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from error


def _counts(
    settings: Prune, clusters: Clusters, units: Sequence[Unit], rows: Mapping[str, Rows], table: Table | None
) -> dict[str, int]:
    """Return the number of clusters of each unit, with targets as absolute numbers."""
    if clusters.error is not None:
        return fewest_counts(units, rows, clusters.error)
    if not clusters.is_auto:
        return requested_counts(clusters, units)
    assert table is not None
    targets: dict[str, Size | None] = {"macs": settings.macs, "params": settings.params}
    sizes = {"macs": table.macs(), "params": table.params()}
    limits = {name: target.of(sizes[name]) for name, target in targets.items() if target is not None}
    return fitting_counts(units, rows, table, **limits)


def _renumbered(numbers: Mapping[str, NDArray[np.int64]]) -> dict[str, NDArray[np.int64]]:
    """Number the clusters of each unit from 0, without gaps."""
    return {name: np.unique(own, return_inverse=True)[1] for name, own in numbers.items()}


def _finished(module: nn.Module, batches: Sequence[Tensor]) -> nn.Module:
    if batches:
        reestimate_batchnorm(module, batches)
    return module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
