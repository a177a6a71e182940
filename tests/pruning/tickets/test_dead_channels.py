from __future__ import annotations

import pytest
import torch
from torch import nn

import networks
from shoestring.pruning.tickets.dead_channels import remove_dead_channels

IMAGES = torch.randn(4, 3, 16, 16, generator=torch.Generator().manual_seed(2))


def size(module: nn.Module) -> int:
    return sum(weight.numel() for weight in module.parameters())


@pytest.mark.parametrize(
    ("name", "options"), [("simplecnn", {"norm": True}), ("resnet20", {"shortcut": "B"}), ("conv2", {"width": 0.25})]
)
def test_dead_channels_are_removed_without_a_change_of_the_outputs(name, options):
    module = networks.network(name, options)
    layers = [layer for layer in module.modules() if isinstance(layer, nn.Conv2d)]
    with torch.no_grad():
        layers[1].weight[:5] = 0.0  # channels without weights
        if name == "resnet20":  # the next layer pads with zeros, as which a constant must pass
            module.layer1[0].bn1.bias[:5] = -5.0
        last = [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]
        last.weight[:, 3:6] = 0.0  # channels that nothing reads
        before = module(IMAGES)
        smaller = remove_dead_channels(module, [IMAGES])
        after = smaller.eval()(IMAGES)
    assert size(smaller) < size(module)
    assert networks.difference(after, before) < 1e-5
    inputs = [layer for layer in smaller.modules() if isinstance(layer, nn.Linear)][-1].in_features
    assert inputs == last.in_features - (0 if name == "resnet20" else 3)  # other blocks read these channels


def test_removing_a_channel_can_make_others_dead():
    module = nn.Sequential(nn.Conv2d(3, 6, 1), nn.ReLU(), nn.Conv2d(6, 5, 1), nn.ReLU(), nn.Conv2d(5, 2, 1)).eval()
    with torch.no_grad():
        module[4].weight[:, :2] = 0.0  # channels 0 and 1 of the second layer are not read
        module[2].weight[2:, 3] = 0.0  # and are the only ones that read channel 3 of the first
        before = module(IMAGES)
        smaller = remove_dead_channels(module, [IMAGES])
        after = smaller(IMAGES)
    assert (smaller[0].out_channels, smaller[2].out_channels) == (5, 3)
    assert torch.allclose(after, before, atol=1e-6)


def test_a_network_without_dead_channels_stays_as_it_is():
    module = networks.network("simplecnn", {"width": 0.25})
    assert size(remove_dead_channels(module, [IMAGES])) == size(module)
