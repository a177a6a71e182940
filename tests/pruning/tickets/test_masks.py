from __future__ import annotations

import pytest
import torch

import networks
from shoestring.pruning.tickets.masks import (
    apply_mask,
    fraction_left,
    full_mask,
    pack_mask,
    prunable_weights,
    prune_smallest,
    random_mask,
    rates_by_weight,
    shuffled_mask,
    unpack_mask,
)


@pytest.fixture
def weights() -> dict[str, torch.Tensor]:
    torch.manual_seed(0)
    return {"a": torch.randn(10, 6), "b": 5 * torch.randn(4, 3, 3, 3), "c": torch.randn(7)[None]}


def counts(mask) -> dict[str, int]:
    return {name: int(own.sum()) for name, own in mask.items()}


def test_each_layer_loses_its_smallest_weights(weights):
    mask = prune_smallest(weights, full_mask(weights), {"a": 0.5, "b": 0.25, "c": 0.0}, "layer")
    assert counts(mask) == {"a": 30, "b": 81, "c": 7}
    for name, own in mask.items():
        removed = weights[name][~own].abs()
        assert not len(removed) or removed.max() <= weights[name][own].abs().min()


def test_all_weights_compete(weights):
    mask = prune_smallest(weights, full_mask(weights), dict.fromkeys(weights, 0.5), "global")
    assert sum(counts(mask).values()) == 175 - 30 - 54 - 4
    kept = torch.cat([weights[name][own].abs() for name, own in mask.items()])
    removed = torch.cat([weights[name][~own].abs() for name, own in mask.items()])
    assert removed.max() <= kept.min()
    assert counts(mask)["b"] / 108 > counts(mask)["a"] / 60


@pytest.mark.parametrize("scope", ["layer", "global"])
def test_removed_weights_stay_removed_and_one_of_each_layer_stays(weights, scope):
    mask = full_mask(weights)
    for _ in range(12):
        smaller = prune_smallest(weights, mask, dict.fromkeys(weights, 0.6), scope)
        assert all(bool((mask[name] | ~own).all()) for name, own in smaller.items())
        mask = smaller
    for name, own in mask.items():
        assert own.flatten()[weights[name].abs().flatten().argmax()]
    assert counts(mask) == {"a": 1, "b": 1, "c": 1}


def test_equal_weights_of_zero_are_removed_in_the_right_number():
    zeros = {"a": torch.zeros(10, 10)}
    assert counts(prune_smallest(zeros, full_mask(zeros), {"a": 0.3}, "layer")) == {"a": 70}


def test_random_masks_keep_the_number_of_weights(weights):
    mask = prune_smallest(weights, full_mask(weights), {"a": 0.9, "b": 0.2, "c": 0.2}, "layer")
    shuffled, random = shuffled_mask(mask, 1), random_mask(mask, 1)
    assert counts(shuffled) == counts(mask)
    assert any(not torch.equal(shuffled[name], mask[name]) for name in mask)
    assert sum(counts(random).values()) == sum(counts(mask).values())
    assert counts(random) != counts(mask)
    assert all(torch.equal(one, other) for one, other in zip(random.values(), random_mask(mask, 1).values()))
    assert any(not torch.equal(one, other) for one, other in zip(random.values(), random_mask(mask, 2).values()))
    assert fraction_left(mask) == pytest.approx(sum(counts(mask).values()) / 175)


def test_masks_are_packed_and_applied(weights):
    mask = random_mask(prune_smallest(weights, full_mask(weights), dict.fromkeys(weights, 0.5), "layer"), 3)
    packed = pack_mask(mask)
    assert sum(own.numel() for own in packed.values()) == 8 + 14 + 1
    unpacked = unpack_mask(packed, weights)
    assert all(torch.equal(unpacked[name], own) for name, own in mask.items())
    before = {name: weight.clone() for name, weight in weights.items()}
    apply_mask(weights, mask)
    assert all(torch.equal(weights[name], before[name] * own) for name, own in mask.items())


def test_weights_of_layers_that_are_trained_can_be_pruned():
    module = networks.network("convnet", {"width": 0.25})
    names = prunable_weights(module)
    assert "head.weight" in names and "blocks.0.conv1.weight" in names
    assert "whitening.weight" not in names  # is fixed
    assert not any("norm" in name or name.endswith("bias") for name in names)
    rates = rates_by_weight(module, names, 0.2, conv_rate=0.1, heads=("head.weight",))
    assert rates["head.weight"] == 0.1 and rates["blocks.0.conv1.weight"] == 0.1
    rates = rates_by_weight(module, names, 0.2, conv_rate=None, heads=())
    assert set(rates.values()) == {0.2}
