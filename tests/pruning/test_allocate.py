from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from shoestring.channels import trace
from shoestring.errors import UserError
from shoestring.models.architectures.resnet import resnet20
from shoestring.pruning import select_channels
from shoestring.pruning.limits import Limit

PAIR = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 8, 1), nn.ReLU(), nn.Conv2d(8, 2, 1))
TABLE = trace(PAIR, torch.zeros(1, 3, 4, 4))
SCORES = {"0": torch.tensor([4.0, 1.0, 3.0, 2.0]), "2": torch.arange(8.0) + 100}
RESNET = trace(resnet20(10), torch.zeros(1, 3, 32, 32))


def _random_scores(seed: int = 0) -> dict[str, torch.Tensor]:
    return RESNET.split(torch.rand(RESNET.size, generator=torch.Generator().manual_seed(seed)))


def test_uniform_scope_prunes_the_same_fraction_of_every_group():
    kept = select_channels(
        SCORES, TABLE, params=TABLE.params({"0": torch.tensor([0, 2]), "2": torch.arange(4, 8)}), scope="uniform"
    )
    assert kept["0"].tolist() == [0, 2]
    assert kept["2"].tolist() == [4, 5, 6, 7]


def test_global_scope_compares_scores_relative_to_the_mean_of_their_group():
    scores = {"0": torch.tensor([1.0, 1.0, 1.0, 1.0]), "2": torch.tensor([7.9, *[0.1 / 7] * 7])}
    kept = select_channels(scores, TABLE, params=TABLE.params({"2": torch.tensor([0])}), scope="global")
    assert kept["0"].tolist() == [0, 1, 2, 3]
    assert kept["2"].tolist() == [0]


@pytest.mark.parametrize("scope", ["uniform", "global"])
@pytest.mark.parametrize("unit", ["macs", "params"])
@pytest.mark.parametrize("fraction", [0.9, 0.5, 0.25, 0.1])
def test_targets_are_met_within_three_percent(scope, unit, fraction):
    count = getattr(RESNET, unit)
    kept = select_channels(_random_scores(), RESNET, scope=scope, **{unit: fraction * count()})
    assert 0.97 * fraction * count() <= count(kept) <= fraction * count()


@settings(max_examples=20, deadline=None)
@given(fraction=st.floats(0.05, 1.0), scope=st.sampled_from(["uniform", "global"]), seed=st.integers(0, 99))
def test_every_group_keeps_its_best_channel_and_targets_are_met(fraction, scope, seed):
    scores = _random_scores(seed)
    macs, params = fraction * RESNET.macs(), fraction * RESNET.params()
    kept = select_channels(scores, RESNET, macs=macs, params=params, scope=scope)
    assert RESNET.macs(kept) <= macs
    assert RESNET.params(kept) <= params
    for name, indices in kept.items():
        assert scores[name].argmax() in indices
        assert indices.tolist() == sorted(set(indices.tolist()))
        lowest = scores[name][indices].min()
        assert (scores[name] > lowest).sum() == len(indices) - 1, "a channel with a higher score is not kept"


def test_the_full_size_keeps_all_channels():
    kept = select_channels(SCORES, TABLE, macs=TABLE.macs())
    assert {name: len(indices) for name, indices in kept.items()} == {"0": 4, "2": 8}


def test_unreachable_targets_name_the_smallest_size():
    smallest = {"0": torch.tensor([0]), "2": torch.tensor([7])}
    with pytest.raises(UserError, match=f"{TABLE.macs(smallest):,} remain of {TABLE.macs():,} MACs"):
        select_channels(SCORES, TABLE, macs=10)
    assert select_channels(SCORES, TABLE, macs=TABLE.macs(smallest)).keys() == smallest.keys()


@pytest.mark.parametrize("scope", ["uniform", "global", "search"])
def test_groups_with_fixed_counts_keep_exactly_so_many_of_the_best(scope):
    kept = select_channels(SCORES, TABLE, counts={"0": 2}, scope=scope)
    assert {name: own.tolist() for name, own in kept.items()} == {"0": [0, 2], "2": list(range(8))}
    kept = select_channels(SCORES, TABLE, counts={"0": 2}, scope=scope, macs=0.6 * TABLE.macs())
    assert kept["0"].tolist() == [0, 2]
    assert TABLE.macs(kept) <= 0.6 * TABLE.macs()
    with pytest.raises(UserError, match="with the channels to keep, and one in every other layer, "):
        select_channels(SCORES, TABLE, counts={"0": 4}, scope=scope, macs=0.1 * TABLE.macs())


def test_further_limits_are_met_too():
    limit = Limit("channels", 7, lambda kept: sum(map(len, kept.values())) if kept else 12)
    kept = select_channels(SCORES, TABLE, limits=[limit])
    assert sum(map(len, kept.values())) == 7


def test_search_compares_the_scores_as_they_are():
    kept = select_channels(SCORES, TABLE, params=TABLE.params({"0": torch.tensor([0])}), scope="search")
    assert {name: len(own) for name, own in kept.items()} == {"0": 1, "2": 8}


def test_networks_that_cannot_be_pruned_raise_with_the_reason():
    class Cumulate(nn.Module):
        def forward(self, maps):
            return maps.cumsum(1)

    frozen = nn.Sequential(nn.Conv2d(3, 4, 1), Cumulate(), nn.Conv2d(4, 2, 1))
    table = trace(frozen, torch.zeros(1, 3, 4, 4))
    with pytest.raises(UserError, match="cumsum"):
        select_channels({}, table, macs=0.5 * table.macs())
    assert select_channels({}, table, macs=table.macs()) == {}
