from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from shoestring.data.batches import on_device
from shoestring.models.blocks import HEAD, find_blocks, tuned_blocks
from shoestring.models.frozen import find_frozen_part
from shoestring.models.head_modules import class_scores
from shoestring.models.model import build
from shoestring.models.preprocessing import Preprocessing
from shoestring.runtime.device import eval_mode


def _tuned(model, tune):
    blocks = find_blocks(model.module, model.heads)
    return [name for block in tuned_blocks(tune, blocks, name=model.name) for name in blocks[block]]


def _scores(model, forward, inputs):
    with torch.no_grad(), eval_mode(model.module):
        return class_scores(forward(inputs))


@pytest.mark.parametrize(
    ("name", "tune"),
    [
        ("resnet20", "head"),
        ("resnet20", "last:2"),
        ("resnet20", "layer2,layer3"),
        ("convnet", "last:1"),
        ("vgg8", "last:1"),
        ("timm:tf_efficientnet_lite0", "last:2"),
        ("timm:densenet121", "denseblock4"),
        ("timm:resnet18", "layer4"),
        ("timm:vit_tiny_patch16_224", "last:1"),
        ("timm:convnext_atto", "stages.3"),
    ],
)
def test_a_network_continues_from_the_outputs_of_its_frozen_part(make_images, name, tune):
    options = {"img_size": 32} if "vit" in name else {} if "timm" in name else {"width": 0.25}
    images = make_images(6, side=32, channels=3)
    torch.manual_seed(0)
    size = Preprocessing(32, 3, (0.5,) * 3, (0.25,) * 3)
    model = build(name, classes=images.classes, preprocessing=size, options=options)
    part = find_frozen_part(model, _tuned(model, tune))
    assert part is not None
    prepared = model.prepare(on_device(images.pixels, "cpu"))
    outputs = part.outputs(prepared)
    assert outputs.shape[0] == 6 and not outputs.requires_grad
    expected = _scores(model, model.module, prepared)
    assert torch.allclose(_scores(model, part.resume, outputs), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(_scores(model, model.module, prepared), expected)  # the network itself is unchanged
    part.module.train()
    part.outputs(prepared)
    assert all(layer.training for layer in model.module.modules())


def test_the_frozen_part_is_not_run_again(images, make_model):
    model = make_model(images, "resnet20", width=0.25)
    part = find_frozen_part(model, _tuned(model, "layer3"))
    called = []
    for name, layer in model.module.named_modules():
        layer.register_forward_hook(lambda *_, name=name: called.append(name))
    outputs = part.outputs(model.prepare(on_device(images.pixels, "cpu")))
    called.clear()
    part.resume(outputs)
    assert "layer3.0.conv1" in called and "layer1.0.conv1" not in called and "layer2.0.conv1" not in called


def test_a_network_without_a_frozen_part_is_not_divided(images, make_model):
    model = make_model(images, "resnet20", width=0.25)
    assert find_frozen_part(model, _tuned(model, "all")) is None
    assert find_frozen_part(model, _tuned(model, f"conv1,{HEAD}")) is None


def test_a_network_whose_late_blocks_use_early_ones_is_not_divided(images, make_model):
    class Long(torch.nn.Module):
        """Adds the output of its first layer to that of its second."""

        def __init__(self):
            super().__init__()
            self.one, self.two = torch.nn.Conv2d(1, 3, 3), torch.nn.Conv2d(3, 3, 1)

        def forward(self, images):
            first = self.one(images)
            return (self.two(first) + first).mean((2, 3))

    model = make_model(images, "resnet20")
    torch.manual_seed(0)
    assert find_frozen_part(replace(model, module=Long()), ["two.weight", "two.bias"]) is None
