from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from shoestring.models import Preprocessing, build, inference
from shoestring.models.folding import folded
from shoestring.models.inference import embed, log_probabilities
from shoestring.models.model import Model

SIZE = Preprocessing(16, 3, (0.5,) * 3, (0.25,) * 3)


def _with_statistics(module: nn.Module) -> nn.Module:
    generator = torch.Generator().manual_seed(0)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.running_mean, part.bias):
                tensor.data.normal_(0, 0.3, generator=generator)
            for tensor in (part.running_var, part.weight):
                tensor.data.uniform_(0.5, 2, generator=generator)
    return module.eval()


def _norms(module: nn.Module) -> int:
    return sum(isinstance(part, nn.BatchNorm2d) for part in module.modules())


@pytest.mark.parametrize("name", ["vgg8", "resnet20", "timm:mobilenetv3_small_050", "timm:resnet10t"])
def test_outputs_stay_the_same_without_batch_norms(name):
    model = build(name, classes=["a", "b"], preprocessing=SIZE, options={}, weights=None)
    _with_statistics(model.module)
    before = {key: value.clone() for key, value in model.module.state_dict().items()}
    result, batch = folded(model), torch.randn(4, 3, 16, 16)
    assert _norms(result.module) == 0 < _norms(model.module)
    with torch.no_grad():
        torch.testing.assert_close(result.module(batch), model.module(batch), rtol=1e-4, atol=1e-4)
    assert all(torch.equal(value, before[key]) for key, value in model.module.state_dict().items())


class _Net(nn.Module):
    """A network of two convolutions and batch norms, which are used in the way of its kind."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first, self.second = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4) for _ in range(2))
        self.head = nn.Linear(4, 2)

    def forward(self, batch):
        one = self.first(batch)
        normed = functional.relu(self.norms[0](one))
        if self.kind == "norm used twice":
            normed = self.norms[0](normed)
        two = self.norms[1](self.second(normed))
        if self.kind == "convolution used twice":
            two = two + one
        return self.head(two.mean((2, 3)))


@pytest.mark.parametrize(("kind", "expected"), [("plain", 0), ("norm used twice", 1), ("convolution used twice", 2)])
def test_norms_stay_where_folding_changes_the_outputs(kind, expected):
    model = Model(_with_statistics(_Net(kind)), "net", {}, ("a", "b"), SIZE)
    result, batch = folded(model), torch.randn(4, 3, 16, 16)
    assert _norms(result.module) == expected
    with torch.no_grad():
        torch.testing.assert_close(result.module(batch), model.module(batch), rtol=1e-4, atol=1e-4)


def test_networks_that_cannot_be_copied_or_have_no_norms_stay_the_same(images, make_model):
    plain = make_model(images, "simplecnn")
    assert folded(plain) is plain
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.LazyLinear(2))
    module(torch.ones(2, 3, 16, 16))
    module.lock = torch.Generator  # harmless
    module.hooked = (value for value in ())  # a generator cannot be copied
    model = Model(module, "net", {}, ("a", "b"), SIZE)
    assert folded(model) is model


def test_many_images_are_predicted_and_embedded_with_folded_norms(make_images, make_model, monkeypatch):
    images = make_images(20, side=8)
    model = make_model(images, "resnet20", width=0.25)
    _with_statistics(model.module)
    expected, features = log_probabilities(model, images), embed(model, images)[0]
    seen = []
    monkeypatch.setattr(inference, "MIN_FOLDED", 20)
    monkeypatch.setattr(inference, "folded", lambda one: seen.append(folded(one)) or seen[-1])
    assert np.allclose(log_probabilities(model, images), expected, atol=1e-5)
    assert np.allclose(embed(model, images)[0], features, atol=1e-5)
    assert len(seen) == 2 and all(_norms(one.module) == 0 for one in seen)
