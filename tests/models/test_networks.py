from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from shoestring.models.architectures.convnet import convnet
from shoestring.models.architectures.resnet import BasicBlock, resnet18, resnet20, resnet56
from shoestring.models.architectures.simple import simplecnn
from shoestring.models.architectures.vgg import vgg8, vgg16
from shoestring.models.layers import PadChannels

NETWORKS = [convnet, resnet20, resnet56, resnet18, vgg8, vgg16, simplecnn]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("network", NETWORKS)
def test_networks_accept_any_size_from_8_up(network, channels):
    module = network(5, channels=channels, width=0.125, dropout=0.5)
    for height, width in [(8, 8), (13, 9), (32, 32)]:
        assert module(torch.randn(2, channels, height, width)).shape == (2, 5)


@pytest.mark.parametrize("network", NETWORKS)
def test_gradients_reach_every_trained_parameter(network):
    module = network(3, width=0.125)
    module(torch.randn(4, 3, 16, 16)).logsumexp(1).sum().backward()
    assert all(p.grad is not None for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("network", "options", "params"),
    [
        (resnet20, {}, 269_722),
        (resnet20, {"shortcut": "B"}, 272_474),
        (resnet56, {}, 853_018),
        (resnet18, {}, 11_173_962),
        (vgg16, {}, 14_724_042),
        (convnet, {}, 1_972_792),
    ],
)
def test_parameter_counts_match_publications(network, options, params):
    assert sum(p.numel() for p in network(10, **options).parameters()) == params


def test_width_scales_filters():
    assert convnet(10, width=0.5).blocks[0].conv1.out_channels == 32
    assert convnet(10, width=0.5).blocks[2].conv2.out_channels == 128
    assert resnet20(10, width=2).linear.in_features == 128


def test_dropout_is_active_in_training_only():
    images = torch.randn(2, 3, 8, 8)
    for network in NETWORKS:
        module = network(5, width=0.25, dropout=0.9).eval()
        assert torch.equal(module(images), module(images))
        for layer in module.modules():
            layer.training = isinstance(layer, torch.nn.Dropout)
        assert not torch.equal(module(images), module(images))


def test_whitened_patches_are_uncorrelated_with_unit_variance():
    torch.manual_seed(0)
    noise = torch.randn(64, 3, 16, 16)
    batch = 2 * noise + noise.roll(1, 1) + noise.roll(1, 3) + 0.5
    module = convnet(10)
    module.whiten(batch)
    outputs = F.conv2d(batch, module.whitening.weight).transpose(0, 1).flatten(1)
    assert torch.allclose(outputs[:12], -outputs[12:], atol=1e-4)
    assert torch.allclose(torch.cov(outputs[:12]), torch.eye(12), atol=0.06)
    assert not module.whitening.weight.requires_grad
    assert module.whitening.bias.requires_grad


@pytest.mark.parametrize("norm", [True, False])
def test_convnet_blocks_start_as_identity_of_their_first_channels(norm):
    block = convnet(10, width=0.5, norm=norm).blocks[1]
    maps = torch.rand(1, 32, 8, 8)
    assert torch.allclose(block.conv1(maps)[:, :32], maps)
    assert torch.count_nonzero(block.conv1.weight[32:]) > 0
    assert (block.conv1.bias is None) == norm


def test_convnet_norm_keeps_its_scale():
    norms = [m for m in convnet(10).modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert len(norms) == 6
    assert all(not m.weight.requires_grad and m.bias.requires_grad for m in norms)


@pytest.mark.parametrize("options", [{"norm": True}, {"norm": False}])
@pytest.mark.parametrize("network", [convnet, vgg8, simplecnn])
def test_learns_with_and_without_batch_norm(network, options):
    torch.manual_seed(0)
    labels = torch.arange(32) % 2
    images = torch.randn(32, 3, 8, 8) * 0.3 + labels.view(-1, 1, 1, 1) * torch.tensor([1.0, -1.0, 0.5]).view(3, 1, 1)
    module = network(2, width=0.125, **options)
    optimizer = torch.optim.AdamW([p for p in module.parameters() if p.requires_grad], 0.02)
    losses = []
    for _ in range(25):
        loss = F.cross_entropy(module(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_shortcut_a_takes_every_second_pixel_and_pads_channels():
    block = BasicBlock(2, 4, 2, "A").eval()
    torch.nn.init.zeros_(block.bn2.weight)
    maps = torch.rand(1, 2, 6, 6)
    result = block(maps)
    assert torch.equal(result[:, 1:3], maps[:, :, ::2, ::2])
    assert torch.count_nonzero(result[:, [0, 3]]) == 0


def test_shortcut_b_learns_a_projection():
    names = set(resnet20(10, shortcut="B").state_dict()) - set(resnet20(10).state_dict())
    assert "layer2.0.shortcut.0.weight" in names
    assert not any("layer1" in name for name in names)


def test_padding_can_be_zero():
    maps = torch.rand(2, 3, 4, 4)
    assert torch.equal(PadChannels(0, 0)(maps), maps)
    assert PadChannels(0, 2)(maps).shape == (2, 5, 4, 4)


def test_padding_keeps_channels_last():
    maps = torch.rand(2, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    assert PadChannels(2, 3)(maps).is_contiguous(memory_format=torch.channels_last)


def test_state_dicts_without_padding_buffers_load():
    module = resnet20(10)
    state = {name: tensor + 1 for name, tensor in module.state_dict().items() if "shortcut" not in name}
    module.load_state_dict(state, strict=True)
    assert torch.equal(module.conv1.weight, state["conv1.weight"])
    assert torch.count_nonzero(module.state_dict()["layer2.0.shortcut.1.before"]) == 0
