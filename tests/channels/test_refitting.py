from __future__ import annotations

import pytest
import torch
from torch import nn

from networks import random_kept
from shoestring.channels import compensate, drop, refit, trace
from shoestring.models.architectures.resnet import resnet20


def test_a_layer_is_fitted_by_least_squares_to_the_outputs_of_the_original_one():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 4, 3, stride=2, padding=1)).eval()
    images, kept = torch.randn(40, 3, 8, 8), {"0": torch.tensor([0, 2, 3])}
    table = trace(network, images[:1])
    dropped, small = drop(network, table, kept), drop(network, table, kept)
    refit(small, network, table, kept, [images])

    def rows(one):
        return one(images).detach().movedim(1, -1).reshape(-1, 4)

    hidden = nn.functional.unfold(small[:2](images).detach(), 3, padding=1, stride=2)  # (N, 27, positions)
    inputs = torch.cat([hidden.movedim(1, 2).reshape(-1, 27), torch.ones(40 * 16, 1)], 1)
    best = inputs @ torch.linalg.lstsq(inputs, rows(network)).solution
    least, error, before = (float((one - rows(network)).square().sum()) for one in (best, rows(small), rows(dropped)))
    assert error <= 1.001 * least
    assert error < 0.9 * before


@pytest.mark.parametrize("shortcut", ["A", "B"])
def test_refitting_reduces_the_error_of_compensation(shortcut):
    torch.manual_seed(0)
    network = resnet20(5, width=0.5, shortcut=shortcut).train()
    images = torch.randn(256, 3, 16, 16)
    network(images)  # batch-norm statistics
    network.eval()
    table = trace(network, images[:1])
    kept = random_kept(table, 0.5)
    small = compensate(network, table, kept, [images])
    with torch.no_grad():
        expected = network(images)
        before = (small.eval()(images) - expected).square().mean()
        refit(small, network, table, kept, [images[:128], images[128:]])
        after = (small(images) - expected).square().mean()
    assert after < 0.5 * before
    assert not small.training


def test_an_uncut_network_does_not_change():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 2)).eval()
    images = torch.randn(800, 3, 4, 4)
    table = trace(network, images[:1])
    same = drop(network, table, {})
    refit(same, network, table, {}, [images])
    assert torch.allclose(same(images), network(images), atol=1e-5)


def test_layers_with_too_few_positions_keep_their_weights():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 16, 2)).eval()
    images, kept = torch.randn(10, 3, 4, 4), {"0": torch.tensor([1, 4])}
    table = trace(network, images[:1])
    small, dropped = drop(network, table, kept), drop(network, table, kept)
    refit(small, network, table, kept, [images])
    assert torch.equal(small[3].weight, dropped[3].weight)


class Twice(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer, self.last = nn.Conv2d(3, 3, 1), nn.Conv2d(3, 2, 1)

    def forward(self, images):
        return self.last(self.layer(self.layer(images)))


def test_layers_that_run_twice_keep_their_weights():
    network, images = Twice().eval(), torch.randn(20, 3, 8, 8)
    table = trace(network, images[:1])
    other = drop(network, table, {})
    other.layer.weight.data += 0.1
    shared, last = other.layer.weight.clone(), other.last.weight.clone()
    refit(other, network, table, {}, [images])
    assert torch.equal(other.layer.weight, shared)
    assert not torch.equal(other.last.weight, last)


def test_networks_without_layers_are_left_alone():
    images = torch.randn(2, 3, 8, 8)
    refit(nn.ReLU(), nn.ReLU(), trace(nn.ReLU(), images), {}, [images])
