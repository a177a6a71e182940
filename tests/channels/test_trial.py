from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from shoestring.channels.trial import culprits, lively, outputs, same

NAMES = [f"g{index}" for index in range(12)]


@given(bad=st.sets(st.sampled_from(NAMES)))
def test_groups_that_are_bad_alone_are_found(bad):
    assert culprits(NAMES, lambda names: bad.isdisjoint(names)) == bad


@given(
    bad=st.sets(st.sampled_from(NAMES), max_size=3),
    pairs=st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=4),
)
def test_what_is_left_always_holds_together(bad, pairs):
    pairs = {(a, b) for a, b in pairs if a != b}

    def holds(names: list[str]) -> bool:
        return bad.isdisjoint(names) and not any(a in names and b in names for a, b in pairs)

    out = culprits(NAMES, holds)
    rest = [name for name in NAMES if name not in out]
    assert holds(rest)
    assert bad <= out <= bad.union(*pairs)


def test_few_trials_are_needed_when_all_is_well():
    tried = []
    assert culprits(NAMES, lambda names: not tried.append(names)) == set()
    assert tried == [NAMES]


def test_outputs_agree_as_far_as_their_precision_allows():
    one = [torch.tensor([1.0, 2.0]), torch.tensor([3])]
    assert same(one, [torch.tensor([1.0001, 2.0]), torch.tensor([3])])
    assert not same(one, [torch.tensor([1.01, 2.0]), torch.tensor([3])])
    assert not same(one, [torch.tensor([[1.0, 2.0]]), torch.tensor([3])])
    half = [torch.tensor([1.0, 2.0], dtype=torch.float16)]
    assert same(half, [torch.tensor([1.01, 2.0], dtype=torch.float16)])
    assert not same([torch.tensor([float("nan")])], [torch.tensor([1.0])])


def test_in_a_lively_copy_every_weight_matters():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    nn.init.zeros_(module[1].weight)
    nn.init.zeros_(module[2].weight)
    copy = lively(module)
    assert not copy.training
    assert all(parameter.abs().min() > 1e-4 for parameter in copy.parameters())
    assert module[1].weight.abs().max() == module[2].weight.abs().max() == 0
    images = torch.randn(2, 3, 4, 4)
    assert outputs(copy, images)[0].std() > 0.01
    with pytest.raises(ValueError, match=r"fails on an example of shape \(1, 2\)"):
        outputs(copy, torch.zeros(1, 2))
