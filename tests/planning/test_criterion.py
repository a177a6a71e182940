from __future__ import annotations

import pytest

from shoestring.config.clusters import Clusters
from shoestring.config.recipe import Prune
from shoestring.planning.criterion import choose_criterion


@pytest.mark.parametrize(
    ("given", "trained", "method", "scope", "reason"),
    [
        ({}, True, "greedy", "global", "the default criterion; the channels of all layers compete"),
        ({}, False, "greedy", "uniform", "the default criterion; every layer loses the same fraction"),
        ({"method": "taylor"}, False, "taylor", "uniform", "as requested; every layer loses the same fraction"),
        ({"scope": "global"}, False, "greedy", "global", "the default criterion; the channels of all layers compete"),
        ({"scope": "search"}, True, "greedy", "search", "the default criterion; the sizes of layers are searched"),
    ],
)
def test_the_default_criterion_and_scope(given, trained, method, scope, reason):
    settings, why = choose_criterion(Prune(**given), trained=trained)
    assert (settings.method, settings.scope, why) == (method, scope, reason)


def test_clusters_need_no_criterion():
    settings = Prune(clusters=Clusters.parse("3"))
    assert choose_criterion(settings, trained=False) == (settings, "as requested")
