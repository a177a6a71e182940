from __future__ import annotations

import pytest
import torch
from torch import nn

from networks import LARGE, NETWORKS, difference, names
from shoestring.channels import trace
from shoestring.growth.widening import GrowableChannels
from shoestring.models import Preprocessing, build

GROWN = [*NETWORKS, *LARGE, ("timm:resnet18", {}), ("timm:test_vit", {"img_size": 32}), ("timm:test_convnext", {})]
EVERY = pytest.mark.parametrize(("name", "options"), GROWN, ids=names(GROWN))


def _fresh(name: str, options: dict) -> nn.Module:
    torch.manual_seed(0)
    size = Preprocessing(32, 3, (0.0,) * 3, (1.0,) * 3)
    return build(name, classes=list("abcde"), preprocessing=size, options=options).module.eval()


def _shapes(module: nn.Module) -> dict[str, torch.Size]:
    return {name: value.shape for name, value in module.state_dict().items()}


@EVERY
def test_growth_keeps_the_function_and_ends_with_the_requested_network(name, options):
    module, images = _fresh(name, options), torch.randn(8, 3, 32, 32)
    shapes, layers = _shapes(module), str(module)
    growing = GrowableChannels(module, images[:1])
    params = sum(weight.numel() for weight in module.parameters())
    growing.narrow(module, 0.5)
    assert sum(weight.numel() for weight in module.parameters()) < 0.8 * params
    with torch.no_grad():
        module.train()(images)  # update batch-norm statistics
        before = module.eval()(images)
        for narrow, width in ((0.5, 0.7), (0.7, 1.0)):
            growing.widen(module, narrow, width)
            assert difference(module(images), before) < 1e-5
    assert _shapes(module) == shapes
    assert str(module) == layers


@EVERY
def test_the_table_of_a_narrow_network_is_derived_from_the_whole_one(name, options):
    module, images = _fresh(name, options), torch.randn(1, 3, 32, 32)
    growing = GrowableChannels(module, images)
    kept = {group: torch.arange(size) for group, size in growing.sizes_at(0.6).items()}
    growing.narrow(module, 0.6)
    derived, traced = growing.table.after(kept), trace(module, images, verify=False)
    assert derived.shapes == traced.shapes
    for axis, ids in derived.axes.items():
        inside = ids >= 0
        same = ids[inside][:, None] == ids[inside]
        other = traced.axes[axis][inside]
        assert torch.equal(same, other[:, None] == other), axis
    assert [one.attribute for one in derived.size_attributes] == [one.attribute for one in traced.size_attributes]


def test_a_narrowed_convnet_is_initialized_like_one_of_that_width():
    module, own = _fresh("convnet", {"width": 1.0}), _fresh("convnet", {"width": 0.5})
    growing = GrowableChannels(module, torch.randn(1, 3, 32, 32))
    whitening = module.whitening.weight.clone()
    growing.narrow(module, 0.5)
    assert _shapes(module) == _shapes(own)
    assert torch.equal(module.whitening.weight, whitening)  # filters that are not trained are all kept
    for block, other in zip(module.blocks, own.blocks):
        for one, another in ((block.conv1.weight, other.conv1.weight), (block.conv2.weight, other.conv2.weight)):
            identity = another.flatten(1).amax(1) == 1.0
            assert torch.allclose(one[identity], another[identity], atol=1e-6)
            drawn, expected = (weight.detach()[~identity].flatten(1).norm(dim=1) for weight in (one, another))
            assert identity.all() or drawn.min() > 0.5 * expected.min()


def test_without_norms_a_narrow_network_has_outputs_of_the_same_scale():
    module, images = _fresh("vgg16", {"norm": False}), torch.randn(32, 3, 32, 32)
    with torch.no_grad():
        whole = module(images).std()
        GrowableChannels(module, images[:1]).narrow(module, 0.25)
        assert 0.2 < module(images).std() / whole < 5.0


def test_a_network_without_growable_channels_raises():
    with pytest.raises(ValueError, match="no channels that can be added later"):
        GrowableChannels(nn.Sequential(nn.Flatten(), nn.Linear(48, 5)), torch.randn(1, 3, 4, 4))
    frozen = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Conv2d(4, 2, 3))
    frozen[0].weight.requires_grad = False
    with pytest.raises(ValueError, match="no channels that can be added later"):
        GrowableChannels(frozen, torch.randn(1, 3, 8, 8))
