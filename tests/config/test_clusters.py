from __future__ import annotations

import pytest

from shoestring.config.clusters import Clusters
from shoestring.config.size_sections import Prune
from shoestring.errors import UserError


def test_numbers_of_clusters_are_parsed():
    assert Clusters.parse("3").everywhere == Clusters.parse(3).everywhere == 3
    assert Clusters.parse("conv1=8, layer2=16").by_layer == {"conv1": 8, "layer2": 16}
    assert Clusters.parse({"conv1": 8}).by_layer == {"conv1": 8}
    assert Clusters.parse("error = 0.1").error == 0.1 and not Clusters.parse("error=0.1").is_auto
    assert Clusters.parse({"error": 0.1}) == Clusters.parse("error=0.1")
    assert Clusters.parse("auto").is_auto and not Clusters.parse("3").is_auto
    assert [str(Clusters.parse(text)) for text in ("3", "a.0=8", "auto")] == ["3", "a.0=8", "auto"]


@pytest.mark.parametrize(
    "text",
    [
        "0",
        "-1",
        "three",
        "2.5",
        "conv1=",
        "=3",
        "conv1=0",
        "a=1,a=2",
        "conv1=2,3",
        "",
        "error=1",
        "error=0",
        "error=nan",
        "error=x",
        "error=0.1,conv1=2",
    ],
)
def test_other_text_is_refused(text):
    with pytest.raises(UserError, match="is not a number of clusters"):
        Clusters.parse(text)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"cluster_outcome": "share"}, "--cluster-outcome has no effect without --clusters"),
        ({"cluster_metric": "cosine", "macs": "0.5"}, "--cluster-metric has no effect"),
        ({"clusters": "3", "method": "random"}, "omit the pruning method and 'random'"),
        ({"clusters": "3", "options": {"norm": "l1"}}, "omit the pruning method and 'norm'"),
        ({"clusters": "auto"}, "needs a target size"),
        ({"clusters": "auto", "macs": "0.5", "cluster_outcome": "share"}, "share leaves the size as it is"),
        ({"clusters": "3", "macs": "0.5"}, "--clusters 3 sets the size already"),
        ({"clusters": "auto", "macs": "0.5", "latency": "2ms"}, "omit --latency"),
        ({"clusters": "error=0.1", "macs": "0.5"}, "--clusters error=0.1 sets the size already"),
        ({"clusters": "3", "scope": "uniform"}, "have no effect with --clusters"),
    ],
)
def test_settings_that_contradict_each_other_are_refused(settings, message):
    with pytest.raises(UserError, match=message):
        Prune(**settings)
    assert Prune(clusters="3").enabled and not Prune(clusters="3").has_target
    assert Prune(clusters="3").what == "clusters: 3, merge"
