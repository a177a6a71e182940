from __future__ import annotations

import numpy as np
import pytest
import torch

from clustered_networks import IMAGES, half, model, outputs, table_of, with_equal_channels
from shoestring.channels import trace
from shoestring.config.size_sections import Prune
from shoestring.pruning.clustering import algorithms
from shoestring.pruning.clustering.clustering import cluster
from shoestring.pruning.clustering.counts import fewest_counts
from shoestring.pruning.clustering.features import describe
from shoestring.pruning.clustering.units import group_units, layer_units


def test_numbers_by_layer():
    whole = model("resnet20", shortcut="B")
    counts = cluster(whole, [], Prune(clusters="layer1.0.conv1=5,layer2=7")).counts
    assert counts["layer1.0.conv1"] == (16, 5)
    assert counts["layer2.0.conv1"] == (32, 7) and counts["layer2.2.conv1"] == (32, 7)
    assert not any(name.startswith("layer3") or name == "conv1" for name in counts)
    longest = cluster(whole, [], Prune(clusters="layer2=7,layer2.1=9")).counts
    assert (longest["layer2.0.conv1"], longest["layer2.1.conv1"]) == ((32, 7), (32, 9))


def test_a_target_sets_the_numbers_of_clusters():
    whole = model("resnet20", shortcut="B")
    table = table_of(whole)
    for target in ({"macs": "0.5"}, {"params": "0.4"}):
        merged = cluster(whole, [], Prune(clusters="auto", **target)).model
        small = trace(merged.module, IMAGES[:1])
        value = float(next(iter(target.values())))
        ratio = small.macs() / table.macs() if "macs" in target else small.params() / table.params()
        assert 0.9 * value < ratio <= value


def test_a_target_spares_groups_whose_filters_differ():
    whole = with_equal_channels(model("resnet20", shortcut="B"))
    layer = whole.module.layer2[0].conv1
    layer.weight.data = torch.randn(layer.weight.shape)
    counts = cluster(whole, [], Prune(clusters="auto", params="0.3")).counts
    assert counts.get("layer2.0.conv1", (32, 32))[1] > 16
    assert counts["layer2.1.conv1"][1] <= 16


@pytest.mark.parametrize("outcome", ["share", "merge"])
def test_an_error_sets_the_fewest_clusters_that_keep_it(outcome):
    whole, table = model("resnet20", shortcut="B"), table_of(model("resnet20", shortcut="B"))
    units = (
        layer_units(whole.module, IMAGES[:1]) if outcome == "share" else group_units(whole.module, IMAGES[:1], table)
    )
    rows = describe(whole.module, units, [], "filters", "euclidean")

    def lost(counts: dict[str, int]) -> float:
        """The error by its definition, with clusters by scikit-learn."""
        losses = []
        for unit in units:
            own = rows[unit.name]
            numbers = algorithms.cluster_rows(own, counts[unit.name], "agglomerative")
            means = np.stack([own[numbers == number].mean(0) for number in range(numbers.max() + 1)])
            losses.append(np.square(own - means[numbers]).sum() / np.square(own - own.mean(0)).sum())
        return float(np.mean(losses))

    totals = []
    for error in (0.05, 0.3, 0.9):
        counts = fewest_counts(units, rows, error)
        totals.append(sum(counts.values()))
        assert lost(counts) <= error + 1e-9
        name = max(counts, key=lambda name: counts[name])
        assert lost(counts | {name: counts[name] - 1}) > error - 0.02
    assert totals[0] > totals[1] > totals[2] >= len(units)
    settings = Prune(clusters="error=0.3", cluster_outcome=outcome, cluster_method="agglomerative")
    assert sum(after for _, after in cluster(whole, [], settings).counts.values()) <= totals[1]


def test_equal_filters_are_found_by_an_error():
    whole = with_equal_channels(model("resnet20", shortcut="B"))
    settings = Prune(clusters="error=1e-9", cluster_method="agglomerative")
    smaller = cluster(whole, [], settings)
    assert {name: after for name, (_, after) in smaller.counts.items()} == half(whole)
    assert (outputs(whole) - outputs(smaller.model)).abs().max() < 1e-4
