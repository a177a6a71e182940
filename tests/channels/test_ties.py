"""Channels that are coupled by their number alone: cut together, or not at all."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shoestring.channels import drop, trace
from shoestring.channels.verify import silence, unequal_cuts

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Pair(nn.Module):
    """One layer's output is arranged by a number that is also the width of another."""

    def __init__(self, arrange) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.h = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 2, 2), nn.Linear(16, 5)
        self.arrange, self.width, self.seed, self.widths = arrange, 16, 16, (16, 8)

    def forward(self, images):
        first = F.relu(self.a(images))
        return self.h(self.arrange(self, first, self.b(first)).flatten(2).mean(2))


TIED = {
    "shape": lambda m, x, y: y.reshape(*x.shape[:2], -1),
    "size": lambda m, x, y: y.view(x.size(0), x.size(1), -1),
    "size by name": lambda m, x, y: y.view(-1, x.size(dim=1), 16),
    "shape as": lambda m, x, y: y.reshape_as(x[:, :, ::2, ::2]),
    "unflatten": lambda m, x, y: y.flatten(1).unflatten(1, (x.shape[1], -1)),
    "an attribute": lambda m, x, y: y.reshape(2, m.width, -1) + 0 * x.reshape(2, m.width, -1)[..., :16],
    "an attribute among others": lambda m, x, y: (
        y.reshape(2, m.widths[0], -1) + 0 * x.reshape(2, m.widths[0], -1)[..., :16]
    ),
}


@pytest.mark.parametrize("arrange", TIED.values(), ids=TIED.keys())
def test_layers_of_which_one_gives_the_size_of_the_other_are_cut_together(arrange):
    module = Pair(arrange).eval()
    table = trace(module, IMAGES)
    assert {name: group.size for name, group in table.groups.items()} == {"a": 16}
    assert table.groups["a"].producers == (("a.weight", 0), ("b.weight", 0))
    for count in (1, 5, 8, 15):
        kept = {"a": torch.arange(16 - count, 16)}
        smaller = drop(module, table, kept)
        assert torch.allclose(smaller(IMAGES), silence(module, table, kept)(IMAGES), atol=1e-5)
        assert smaller.seed == 16


APART = {
    "arithmetic": lambda m, x, y: y.reshape(len(x), x.shape[1] // 2 * 2, -1),
    "a constant": lambda m, x, y: y.reshape(len(x), 16, -1),
    "rows of the one by the number of the other": lambda m, x, y: y.reshape(2, -1, 16)[:, : x.shape[1] + 0],
}


@pytest.mark.parametrize("arrange", APART.values(), ids=APART.keys())
def test_other_ways_are_found_by_unequal_cuts_and_the_exception_is_named(arrange):
    table = trace(Pair(arrange), IMAGES)
    assert "b" not in table.groups
    assert any("cut for trial, the network raised RuntimeError: " in note for note in table.notes)
    for name, group in table.groups.items():
        assert drop(Pair(arrange), table, {name: torch.arange(group.size // 3)})(IMAGES).shape == (2, 5)


def test_attributes_that_have_the_same_value_by_chance_stay():
    module = nn.Sequential(Pair(lambda m, x, y: y), nn.Identity())
    table = trace(module, IMAGES)
    smaller = drop(module, table, {name: torch.arange(5) for name in table.groups})
    assert (smaller[0].width, smaller[0].seed, smaller[0].widths) == (16, 16, (16, 8))
    assert not hasattr(smaller, "sizes_changed")


def test_a_scale_that_is_also_a_size_freezes_what_it_would_change_with():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.make, self.last, self.width = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1), 8

        def forward(self, images):
            maps = self.make(images)
            return self.last(maps.reshape(-1, self.width, 8, 8)) / self.width

    assert not trace(Scaled(), IMAGES).groups


def test_a_pyramid_with_fewer_keys_is_cut_by_heads():
    """As in PVT and Segformer: the width of the stream arranges both the heads and the maps that keys are made of."""

    class Attention(nn.Module):
        def __init__(self, width: int, heads: int) -> None:
            super().__init__()
            self.heads = heads
            self.norm, self.q, self.kv = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, 2 * width)
            self.fewer, self.proj = nn.Conv2d(width, width, 2, 2), nn.Linear(width, width)

        def forward(self, stream):
            batch, count, width = stream.shape
            x = self.norm(stream)
            q = self.q(x).reshape(batch, count, self.heads, -1).transpose(1, 2)
            maps = x.transpose(1, 2).reshape(batch, width, 8, 8)
            x = self.fewer(maps).reshape(batch, width, -1).transpose(1, 2)
            k, v = self.kv(x).reshape(batch, -1, 2, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
            x = F.scaled_dot_product_attention(q, k, v)
            return stream + self.proj(x.transpose(1, 2).reshape(batch, count, width))

    class Pyramid(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.block, self.head = nn.Conv2d(3, 24, 1), Attention(24, 6), nn.Linear(24, 5)

        def forward(self, images):
            return self.head(self.block(self.embed(images).flatten(2).transpose(1, 2)).mean(1))

    module = Pyramid().eval()
    table = trace(module, IMAGES)
    assert {name: group.size for name, group in table.groups.items()} == {"embed": 6}
    smaller = drop(module, table, {"embed": torch.tensor([0, 2, 3, 5])})
    assert (smaller.block.heads, smaller.head.in_features) == (4, 16)
    assert smaller(IMAGES).shape == (2, 5)


@pytest.mark.parametrize("sizes", [[2] * 9, [3] * 12, [8] * 20, [32] * 120, [1, 1], [5, 2, 2, 64]])
def test_in_one_of_few_rounds_any_two_groups_lose_different_numbers(sizes):
    named = {str(index): size for index, size in enumerate(sizes)}
    rounds = unequal_cuts(named, torch.Generator().manual_seed(0))
    counts = {name: tuple(len(kept.get(name, range(size))) for kept in rounds) for name, size in named.items()}
    for name, size in named.items():
        assert size == 1 or min(counts[name]) < size, "every group is cut once"
        assert min(counts[name]) >= 1
        for other in named:
            assert name == other or size == 1 or named[other] != size or counts[name] != counts[other]
    assert len(rounds) <= 4


def test_what_is_left_for_trial_cannot_be_divided():
    (kept,) = unequal_cuts({"a": 64, "b": 24}, torch.Generator().manual_seed(0))
    assert all(len(indices) % 2 and len(indices) % 3 for indices in kept.values())
