from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from networks import difference, network
from shoestring.evaluation.cost import count_macs
from shoestring.growth.deepening import GrowableBlocks
from shoestring.growth.identity_blocks import find_identity_blocks
from shoestring.growth.widening import GrowableChannels
from shoestring.models import Preprocessing, build
from shoestring.models.layers import init_weights

BATCH_NORM = {"bn2.weight", "bn2.bias"}
MIXED = {"attn.proj.weight", "attn.proj.bias", "mlp.fc2.weight", "mlp.fc2.bias"}
# name, options, side, growable blocks, blocks skipped at half of the depth, zero weights of each
NETWORKS = [
    ("resnet20", {}, 16, 7, 3, BATCH_NORM),
    ("resnet56", {"width": 0.25}, 16, 25, 15, BATCH_NORM),
    ("resnet18", {"width": 0.125}, 16, 5, 4, BATCH_NORM),
    ("timm:resnet18", {}, 32, 5, 4, BATCH_NORM),
    ("timm:mobilenetv2_100", {}, 32, 10, 6, {"bn3.weight", "bn3.bias"}),
    ("timm:efficientnet_b0", {}, 32, 9, 6, {"bn3.weight", "bn3.bias"}),
    ("timm:vit_tiny_patch16_224", {"img_size": 32}, 32, 12, 6, MIXED),
    ("timm:convnext_atto", {}, 32, 12, 6, {"mlp.fc2.weight", "mlp.fc2.bias"}),
]
EVERY = pytest.mark.parametrize(
    ("name", "options", "side", "count", "skipped", "zeros"), NETWORKS, ids=[name for name, *_ in NETWORKS]
)


@EVERY
def test_skipping_blocks_does_not_change_the_function(name, options, side, count, skipped, zeros):
    module, images = network(name, options, side), torch.randn(4, 3, side, side)
    before = {key: value.clone() for key, value in module.state_dict().items()}
    blocks = GrowableBlocks(module, images[:1])
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())
    assert len(blocks.zeros) == count
    assert {weight.removeprefix(f"{one}.") for one, own in blocks.zeros.items() for weight in own} == zeros
    blocks.start(module, 0.5)
    assert len(blocks.skipped(0.5)) == skipped
    assert module.state_dict().keys() == before.keys()
    for training in (False, True):
        shallow, whole = (copy.deepcopy(module).train(training) for _ in range(2))
        blocks.deepen(whole, 1.0)
        assert all("forward" not in vars(part) for part in whole.modules())
        assert torch.equal(shallow(images), whole(images))
    loss = module.train()(images).square().sum()
    loss.backward()
    out = tuple(f"{one}." for one in blocks.skipped(0.5))
    named = dict(module.named_parameters())
    assert all(weight.grad is None for key, weight in named.items() if key.startswith(out))
    blocks.deepen(module, 1.0)
    module(images).square().sum().backward()
    gradients = [named[weight].grad for one in blocks.skipped(0.5) for weight in blocks.zeros[one]]
    assert all(gradient is not None and gradient.any() for gradient in gradients)


@given(depths=st.lists(st.floats(0.01, 1), min_size=2, max_size=4))
@settings(max_examples=20, deadline=None)
def test_blocks_are_only_added_and_the_first_of_each_stage_is_used(depths):
    blocks = _RESNET56
    out = [blocks.skipped(depth) for depth in sorted(depths)]
    assert all(set(later) <= set(earlier) for earlier, later in pairwise(out))
    for left, depth in zip(out, sorted(depths)):
        for stage in ("layer1", "layer2", "layer3"):
            gone = sorted(int(one.rpartition(".")[2]) for one in left if one.startswith(stage))
            assert gone == list(range(max(1, round(9 * depth)), 9))
    assert blocks.skipped(1.0) == []


_RESNET56 = GrowableBlocks(network("resnet56", {"width": 0.125}), torch.randn(1, 3, 16, 16))


@pytest.mark.parametrize("name", ["convnet", "vgg8", "timm:densenet121"])
def test_a_network_without_growable_blocks_raises(name):
    with pytest.raises(ValueError, match="has no residual blocks that can be skipped"):
        GrowableBlocks(network(name, {} if ":" in name else {"width": 0.125}, 32), torch.randn(1, 3, 32, 32))


class Residual(nn.Module):
    def __init__(self, branch: nn.Module, after: nn.Module | None = None) -> None:
        super().__init__()
        self.branch, self.after = branch, after or nn.Identity()

    def forward(self, maps: Tensor) -> Tensor:
        return self.after(maps + self.branch(maps))


def _branch(*following: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(4, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 1), *following)


def _find(*parts: nn.Module, channels: int = 4) -> dict[str, list[str]]:
    torch.manual_seed(0)
    return find_identity_blocks(nn.Sequential(*parts), torch.randn(1, channels, 6, 6))


def test_functions_after_the_sum_must_preserve_the_input():
    relu = Residual(_branch(), nn.ReLU())
    assert _find(copy.deepcopy(relu)) == {}
    assert list(_find(nn.ReLU(), relu)) == ["1"]
    assert _find(nn.ReLU6(), Residual(_branch(), nn.ReLU6())).keys() == {"1"}
    assert _find(nn.ReLU(), Residual(_branch(), nn.ReLU6())) == {}  # large values are clipped
    assert _find(Residual(_branch(), nn.Dropout(0.5))) == {}
    assert _find(Residual(_branch(nn.Dropout(0.5)))) == {"0": ["0.branch.2.weight", "0.branch.2.bias"]}


def test_a_block_that_could_not_learn_is_not_skipped():
    assert _find(Residual(_branch(nn.ReLU()))) == {}


def test_frozen_and_shared_weights_are_not_zeroed():
    frozen = Residual(_branch())
    frozen.branch[2].requires_grad_(False)
    assert _find(frozen) == {}
    tied, other = Residual(_branch()), nn.Conv2d(4, 4, 1)
    other.weight = tied.branch[2].weight
    assert _find(tied, other) == {}


def test_nested_blocks_stages_and_repeated_calls():
    inner, outer = Residual(_branch()), Residual(nn.Sequential(Residual(_branch()), nn.Conv2d(4, 4, 1)))
    assert list(_find(outer)) == ["0"]  # a block that contains another
    stage = nn.Sequential(inner, Residual(_branch()))
    assert list(_find(stage, nn.ReLU())) == ["0.0", "0.1"]
    assert _find(inner, nn.ReLU(), inner) == {}

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.parts = nn.ModuleList([Residual(_branch()), Residual(_branch())])

        def forward(self, maps: Tensor) -> Tensor:
            return self.parts[0](self.parts[1](self.parts[0](maps)))

    assert list(find_identity_blocks(Twice(), torch.randn(1, 4, 6, 6))) == ["parts.1"]


def test_layer_scales_are_zeroed_if_they_come_last():
    module = network("timm:test_vit", {"img_size": 32, "init_values": 1e-5}, 32)
    zeros = GrowableBlocks(module, torch.randn(1, 3, 32, 32)).zeros
    assert set(zeros["blocks.0"]) == {"blocks.0.ls1.gamma", "blocks.0.ls2.gamma"}


def test_a_shallow_network_and_its_copies_cost_less():
    size = Preprocessing(16, 3, (0.0,) * 3, (1.0,) * 3)
    model = build("resnet20", classes=["a", "b"], preprocessing=size, options={"width": 0.25})
    before, state = count_macs(model), torch.random.get_rng_state()
    blocks = GrowableBlocks(model.module, torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0)))
    assert torch.equal(torch.random.get_rng_state(), state)
    blocks.start(model.module, 0.5)
    assert 0.6 < count_macs(copy.deepcopy(model)) / before < 0.75  # six of nine blocks
    blocks.deepen(model.module, 1.0)
    assert count_macs(model) == before


@pytest.mark.parametrize(
    ("name", "options"),
    [("resnet20", {}), ("timm:test_vit", {"img_size": 32}), ("timm:mobilenetv2_100", {}), ("timm:test_convnext", {})],
    ids=str,
)
def test_width_and_depth_grow_together(name, options):
    module, images = network(name, options, 32), torch.randn(4, 3, 32, 32)
    init_weights(module)  # weights of a freshly initialized network
    shapes = {key: value.shape for key, value in module.state_dict().items()}
    growing, blocks = GrowableChannels(module, images[:1]), GrowableBlocks(module, images[:1])
    growing.narrow(module, 0.5)
    blocks.start(module, 0.4)
    with torch.no_grad():
        before = module(images)
        growing.widen(module, 0.5, 0.7)  # blocks are skipped while channels are added
        assert difference(module(images), before) < 1e-5
        blocks.deepen(module, 0.8)
        assert difference(module(images), before) < 1e-5
        growing.widen(module, 0.7, 1.0)
        for part in (1.0, 0.4):  # the zero weights are still zero
            blocks.deepen(module, part)
            assert difference(module(images), before) < 1e-5
    assert {key: value.shape for key, value in module.state_dict().items()} == shapes
