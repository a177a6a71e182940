"""Channels that feed layers which run only in training mode are frozen."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from shoestring.channels import drop, trace

IMAGES = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Auxiliary(nn.Module):
    """A second head used only in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.norm, self.b = nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Conv2d(8, 6, 1)
        self.drop, self.head, self.idle = nn.Dropout(0.5), nn.Linear(6, 5), nn.Linear(3, 3)
        self.aux = nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, 5))

    def forward(self, images):
        maps = self.norm(self.a(images)).relu()
        logits = self.head(self.drop(self.b(maps).mean((2, 3))))
        return (logits, self.aux(maps.mean((2, 3)))) if self.training else logits


def test_channels_of_an_auxiliary_head_are_frozen_and_noted():
    module = Auxiliary()
    before, state = module.norm.running_mean.clone(), torch.get_rng_state()
    table = trace(module, IMAGES)
    assert {name: group.size for name, group in table.groups.items()} == {"b": 6}
    assert any("channels of a are frozen: they feed 'aux" in note for note in table.notes)
    assert "aux runs only in training mode and is not changed." in table.notes
    assert "idle never runs and is not changed." in table.notes
    assert torch.equal(module.norm.running_mean, before)
    assert torch.equal(torch.get_rng_state(), state)
    smaller = drop(module, table, {"b": torch.tensor([1, 4])}).train()
    logits, aux = smaller(torch.randn(4, 3, 8, 8))
    (logits.sum() + aux.sum()).backward()
    assert aux.shape == (4, 5)


def test_a_training_mode_that_fails_prevents_pruning():
    class Targets(Auxiliary):
        def forward(self, images):
            if self.training:
                raise TypeError("targets are missing")
            return super().forward(images)

    table = trace(Targets(), IMAGES)
    assert not table.groups
    assert "aux, may" not in table.notes[0]
    assert "targets are missing" in table.notes[0]


def test_training_mode_is_verified_even_if_it_uses_no_other_weights():
    class Reshapes(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b, self.head = nn.Conv2d(3, 8, 1), nn.Conv2d(8, 8, 1), nn.Linear(8, 5)

        def forward(self, images):
            maps = self.a(images)
            if self.training:
                maps = maps.reshape(len(images), 8, 8, 8)
            return self.head(self.b(maps).mean((2, 3)))

    table = trace(Reshapes(), IMAGES)
    assert {name: group.size for name, group in table.groups.items()} == {"b": 8}
    assert any("when pruned, in training mode the network raises RuntimeError" in note for note in table.notes)


@pytest.mark.parametrize("side", [1, 8])
def test_a_network_that_trains_only_on_several_images_is_pruned(side):
    module = nn.Sequential(nn.Conv2d(3, 8, 1), nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * side * side, 5))
    assert trace(module, IMAGES[..., :side, :side]).groups["0"].size == 8
