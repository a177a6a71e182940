"""Channels coupled only through their number are pruned together, or not at all."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shoestring.channels import drop, trace
from shoestring.channels.verify import unequal_cuts, zero_out

IMAGES = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Pair(nn.Module):
    """Reshapes one layer's output by a number that is also the width of another layer."""

    def __init__(self, reshape_by) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.h = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 2, 2), nn.Linear(16, 5)
        self.reshape_by, self.width, self.seed, self.widths = reshape_by, 16, 16, (16, 8)

    def forward(self, images):
        first = F.relu(self.a(images))
        return self.h(self.reshape_by(self, first, self.b(first)).flatten(2).mean(2))


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


@pytest.mark.parametrize("reshape_by", TIED.values(), ids=TIED.keys())
def test_layers_whose_size_is_used_to_reshape_others_are_pruned_together(reshape_by):
    module = Pair(reshape_by).eval()
    table = trace(module, IMAGES)
    assert {name: group.size for name, group in table.groups.items()} == {"a": 16}
    assert table.groups["a"].producers == (("a.weight", 0), ("b.weight", 0))
    for count in (1, 5, 8, 15):
        kept = {"a": torch.arange(16 - count, 16)}
        smaller = drop(module, table, kept)
        assert torch.allclose(smaller(IMAGES), zero_out(module, table, kept)(IMAGES), atol=1e-5)
        assert smaller.seed == 16


UNTRACKED = {
    "arithmetic": lambda m, x, y: y.reshape(len(x), x.shape[1] // 2 * 2, -1),
    "a constant": lambda m, x, y: y.reshape(len(x), 16, -1),
    "slice by an untracked number": lambda m, x, y: y.reshape(2, -1, 16)[:, : x.shape[1] + 0],
}


@pytest.mark.parametrize("reshape_by", UNTRACKED.values(), ids=UNTRACKED.keys())
def test_untracked_sizes_are_detected_by_unequal_cuts_and_the_exception_is_noted(reshape_by):
    table = trace(Pair(reshape_by), IMAGES)
    assert "b" not in table.groups
    assert any("when pruned, the network raises RuntimeError: " in note for note in table.notes)
    for name, group in table.groups.items():
        assert drop(Pair(reshape_by), table, {name: torch.arange(group.size // 3)})(IMAGES).shape == (2, 5)


def test_unrelated_attributes_with_the_same_value_do_not_change():
    module = nn.Sequential(Pair(lambda m, x, y: y), nn.Identity())
    table = trace(module, IMAGES)
    smaller = drop(module, table, {name: torch.arange(5) for name in table.groups})
    assert (smaller[0].width, smaller[0].seed, smaller[0].widths) == (16, 16, (16, 8))
    assert not hasattr(smaller, "sizes_changed")


def test_an_attribute_that_is_both_scale_and_size_freezes_channels():
    class Scaled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.last, self.width = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 2, 1), 8

        def forward(self, images):
            maps = self.first(images)
            return self.last(maps.reshape(-1, self.width, 8, 8)) / self.width

    assert not trace(Scaled(), IMAGES).groups


def test_a_pyramid_with_reduced_keys_is_pruned_by_heads():
    """As in PVT and Segformer: the width of the stream reshapes both the heads and the feature maps of the keys."""

    class Attention(nn.Module):
        def __init__(self, width: int, heads: int) -> None:
            super().__init__()
            self.heads = heads
            self.norm, self.q, self.kv = nn.LayerNorm(width), nn.Linear(width, width), nn.Linear(width, 2 * width)
            self.reduce, self.proj = nn.Conv2d(width, width, 2, 2), nn.Linear(width, width)

        def forward(self, stream):
            batch, count, width = stream.shape
            x = self.norm(stream)
            q = self.q(x).reshape(batch, count, self.heads, -1).transpose(1, 2)
            maps = x.transpose(1, 2).reshape(batch, width, 8, 8)
            x = self.reduce(maps).reshape(batch, width, -1).transpose(1, 2)
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
def test_any_two_groups_lose_different_numbers_in_some_round(sizes):
    named = {str(index): size for index, size in enumerate(sizes)}
    rounds = unequal_cuts(named, torch.Generator().manual_seed(0))
    counts = {name: tuple(len(kept.get(name, range(size))) for kept in rounds) for name, size in named.items()}
    for name, size in named.items():
        assert size == 1 or min(counts[name]) < size, "every group is pruned in some round"
        assert min(counts[name]) >= 1
        for other in named:
            assert name == other or size == 1 or named[other] != size or counts[name] != counts[other]
    assert len(rounds) <= 4


def test_the_remaining_sizes_are_not_divisible_by_2_or_3():
    (kept,) = unequal_cuts({"a": 64, "b": 24}, torch.Generator().manual_seed(0))
    assert all(len(indices) % 2 and len(indices) % 3 for indices in kept.values())
