from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from shoestring.models.activation_maps import activation_maps
from shoestring.models.model import Model
from shoestring.models.preprocessing import Preprocessing


class Pooled(nn.Module):
    """A convolution, global average pooling, and a linear head."""

    def __init__(self, *, after: nn.Module | None = None, last: bool = False) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.convolution, self.head, self.last = nn.Conv2d(1, 5, 3, padding=1), nn.Linear(5, 3), last
        self.after = after or nn.Identity()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.after(self.convolution(images))
        if self.last:
            features = _Last()(features)
            return self.head(features.mean((1, 2)))
        return self.head(features.mean((2, 3)))


class _Last(nn.Module):
    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features.permute(0, 2, 3, 1)


def _model(module: nn.Module, images) -> Model:
    return Model(module, "test", {}, images.classes, Preprocessing(8, 1, (0.3,), (0.25,)))


TARGETS = np.array([[0, 1], [2, 0], [1, 2]])


@pytest.mark.parametrize("after", [None, nn.ReLU(inplace=True)])
def test_map_is_the_weighted_sum_of_features_that_a_linear_head_reads(images, after):
    model = _model(Pooled(after=after), images)
    maps = activation_maps(model, images[:3], TARGETS)
    assert maps is not None and maps.shape == (3, 2, 8, 8)
    batch = model.prepare(torch.from_numpy(images[:3].pixels))
    with torch.no_grad():
        features = model.module.after(model.module.convolution(batch))
        sums = torch.einsum("nchw,ntc->nthw", features, model.module.head.weight[torch.from_numpy(TARGETS)]).relu()
    highest = sums.amax((2, 3), keepdim=True)
    assert np.allclose(maps, torch.where(highest > 0, sums / highest, 0), atol=1e-5)


def test_channels_may_be_last(images):
    expected = activation_maps(_model(Pooled(), images), images[:3], TARGETS)
    maps = activation_maps(_model(Pooled(last=True), images), images[:3], TARGETS)
    assert expected is not None and maps is not None and np.allclose(maps, expected, atol=1e-5)


def test_module_is_left_as_it_was(images):
    model = _model(Pooled(), images)
    model.module.train()
    activation_maps(model, images[:3], TARGETS)
    assert model.module.training and all(weight.grad is None for weight in model.module.parameters())
    assert not any(part._forward_hooks for part in model.module.modules())


@pytest.mark.parametrize("name", ["simplecnn", "convnet", "resnet20", "vgg8"])
def test_networks_have_maps(make_images, make_model, name):
    images = make_images(6, side=32, channels=3)
    maps = activation_maps(make_model(images, name), images, np.zeros((6, 1), dtype=np.int64))
    assert maps is not None and maps.shape == (6, 1, 32, 32)
    assert maps.min() >= 0 and maps.max() <= 1 + 1e-6


def test_networks_without_feature_maps_have_none(images):
    model = _model(nn.Sequential(nn.Flatten(), nn.Linear(64, 3)), images)
    assert activation_maps(model, images[:3], TARGETS) is None
