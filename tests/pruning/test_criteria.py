from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from networks import Residual
from shoestring.channels import Table, compensate, trace
from shoestring.errors import UserError
from shoestring.pruning.criteria.activation import activation
from shoestring.pruning.criteria.bn_scale import bn_scale
from shoestring.pruning.criteria.cluster import cluster
from shoestring.pruning.criteria.geometric_median import geometric_median
from shoestring.pruning.criteria.greedy import greedy
from shoestring.pruning.criteria.magnitude import magnitude
from shoestring.pruning.criteria.taylor import taylor

IMAGES = torch.randn(12, 3, 5, 5, generator=torch.Generator().manual_seed(3))


def _pair(channels: int = 6) -> tuple[nn.Sequential, Table]:
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, channels, 1), nn.BatchNorm2d(channels), nn.ReLU(), nn.Conv2d(channels, 2, 1)
    ).eval()
    nn.init.uniform_(module[1].weight, -1, 1)
    return module, trace(module, IMAGES[:1])


def test_bn_scale_is_the_absolute_factor():
    module, table = _pair()
    assert torch.allclose(bn_scale(module, [], table)["0"], module[1].weight.detach().abs())


def test_bn_scale_falls_back_to_magnitude_without_trainable_batch_norms():
    module, table = _pair()
    module[1].weight.requires_grad_(False)
    assert torch.equal(bn_scale(module, [], table)["0"], magnitude(module, [], table)["0"])


def test_geometric_median_sums_the_distances_to_all_other_filters():
    module, table = _pair()
    filters = module[0].weight.detach().flatten(1)
    distances = torch.stack([(filters - own).norm(dim=1).sum() for own in filters])
    assert torch.allclose(geometric_median(module, [], table)["0"], distances / distances.mean())


def test_geometric_median_sums_over_all_layers_that_produce_a_channel():
    module = Residual(nn.Identity())
    table = trace(module, torch.zeros(1, 3, 4, 4))
    expected = torch.zeros(4)
    for layer in (module.one, module.two):
        filters = layer.weight.detach().flatten(1)
        own = torch.cdist(filters, filters).sum(1)
        expected += own / own.mean()
    assert torch.allclose(geometric_median(module, [], table)["one"], expected)


def test_cluster_keeps_one_filter_of_each_cluster():
    module, table = _pair(7)
    centers = torch.tensor([0, 0, 0, 1, 1, 2, 2])
    with torch.no_grad():
        module[0].weight.copy_(torch.eye(3)[centers].view(7, 3, 1, 1) + 0.01 * torch.randn(7, 3, 1, 1))
    order = cluster(module, [], table)["0"].argsort(descending=True)
    for count in (1, 2, 3):
        assert len(set(centers[order[:count]].tolist())) == count
    assert sorted(order.tolist()) == list(range(7))


def test_cluster_scores_equal_filters_as_zero_but_one():
    module, table = _pair(4)
    with torch.no_grad():
        module[0].weight.fill_(1.0)
    scores = cluster(module, [], table)["0"]
    assert (scores == 0).sum() == 3 and scores.max() > 0


def test_activation_is_the_root_mean_square_times_the_norm_of_the_weights_that_read_it():
    module, table = _pair()
    maps = module[:3](IMAGES).detach().movedim(1, -1).reshape(-1, 6)
    expected = maps.square().mean(0).sqrt() * module[3].weight.detach()[:, :, 0, 0].norm(dim=0)
    scores = activation(module, [IMAGES[:6], IMAGES[6:]], table)["0"]
    assert torch.allclose(scores, expected / expected.mean(), rtol=1e-4)


class Classify(nn.Module):
    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        self.layers = layers

    def forward(self, images: Tensor) -> Tensor:
        return self.layers(images).mean((2, 3))


def _classifier() -> tuple[Classify, Table]:
    module = Classify(_pair()[0])
    return module, trace(module, IMAGES[:1])


def test_taylor_is_the_squared_change_of_the_loss_to_first_order():
    (module, table), labels, step = _classifier(), torch.tensor([0, 1] * 6), 1e-5
    scores = taylor(module, [IMAGES], table, labels=[labels])["layers.0"]
    module.double()
    images, weight, expected = IMAGES.double(), module.layers[3].weight, []
    with torch.no_grad():
        before, whole = weight.clone(), functional.cross_entropy(module(images), labels)
        for channel in range(6):
            weight[:, channel] *= 1 - step
            expected.append(((functional.cross_entropy(module(images), labels) - whole) / step).square())
            weight.copy_(before)
    assert torch.allclose(scores.double(), torch.stack(expected), rtol=1e-3, atol=1e-9)
    assert all(parameter.grad is None for parameter in module.parameters())


def test_taylor_uses_the_predicted_classes_without_labels():
    module, table = _classifier()
    predicted = module(IMAGES).argmax(1)
    own, same, other = (
        taylor(module, [IMAGES], table, labels=labels)["layers.0"] for labels in (None, [predicted], [1 - predicted])
    )
    assert torch.equal(own, same)
    assert not torch.equal(own, other)


def _reconstruction_error(module: nn.Sequential, table: Table, kept: list[int]) -> float:
    """The error of the outputs after the weights are refitted, relative to their mean square."""
    small = compensate(module, table, {"0": torch.tensor(kept)}, [IMAGES])
    bias = module[3].bias.detach().view(1, -1, 1, 1)
    with torch.no_grad():
        expected = module(IMAGES) - bias
        return float((small(IMAGES) - bias - expected).square().sum() / expected.square().sum())


def test_greedy_removes_the_channel_that_costs_least_after_refitting():
    module, table = _pair()
    scores, kept, error = greedy(module, [IMAGES], table)["0"], list(range(6)), 0.0
    for channel in scores.argsort(stable=True).tolist()[:4]:
        trials = {one: _reconstruction_error(module, table, [c for c in kept if c != one]) for one in kept}
        assert trials[channel] <= 1.01 * min(trials.values()) + 1e-5
        assert abs(trials[channel] - error - float(scores[channel])) < 0.01 + 0.05 * error
        kept.remove(channel)
        error = trials[channel]
    assert scores.sum() == pytest.approx(1.0, abs=0.05)


def test_greedy_removes_several_of_many_channels_at_once():
    module, table = _pair(100)
    scores = greedy(module, [IMAGES], table)["0"]
    assert scores.isfinite().all()
    best = scores.topk(20).indices.tolist()
    random = torch.randperm(100, generator=torch.Generator().manual_seed(0))[:20].tolist()
    assert _reconstruction_error(module, table, best) < 0.5 * _reconstruction_error(module, table, random)


def test_greedy_survives_dead_channels():
    module, table = _pair()
    with torch.no_grad():
        module[1].weight[2], module[1].bias[2] = 0.0, -1.0
    scores = greedy(module, [IMAGES], table)["0"]
    assert scores.argmin() == 2
    assert scores.isfinite().all()


@pytest.mark.parametrize("method", [activation, greedy, taylor])
def test_criteria_that_look_at_images_need_some(method):
    module, table = _pair()
    with pytest.raises(UserError, match=f"'{method.__name__}' needs calibration images"):
        method(module, [], table)


@pytest.mark.parametrize("method", [activation, greedy])
def test_groups_that_only_grouped_convolutions_read_are_scored_by_magnitude(method):
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2), nn.ReLU(), nn.Conv2d(4, 2, 1))
    table = trace(module.eval(), IMAGES[:1])
    scores, expected = method(module, [IMAGES], table), magnitude(module, [], table)
    assert scores.keys() == table.groups.keys()
    assert torch.equal(scores["0"], expected["0"])
