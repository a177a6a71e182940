from __future__ import annotations

import copy
from contextlib import nullcontext

import pytest
import torch
from torch import nn

from shoestring.models import Preprocessing, build
from shoestring.models.frozen_norms import FrozenNorms, freeze_norms
from shoestring.models.model import Model

SIZE = Preprocessing(16, 3, (0.5,) * 3, (0.25,) * 3)


def prepared(name: str) -> tuple[Model, FrozenNorms]:
    """A network in double precision, in training mode, whose frozen batch norms have weights and statistics."""
    model = build(name, classes=["a", "b"], preprocessing=SIZE)
    generator = torch.Generator().manual_seed(0)
    for part in model.module.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.running_mean, part.bias):
                tensor.data.normal_(0, 0.3, generator=generator)
            for tensor in (part.running_var, part.weight):
                tensor.data.uniform_(0.5, 2, generator=generator)
    norms = FrozenNorms(model)
    model.module.train().double()
    freeze_norms(model.module)
    assert len(norms) == sum(isinstance(part, nn.BatchNorm2d) for part in model.module.modules())
    return model, norms


def gradients(
    model: Model, batch: torch.Tensor, norms: FrozenNorms | None = None
) -> tuple[torch.Tensor, dict[str, torch.Tensor]]:
    model.module.zero_grad()
    with norms.merged() if norms else nullcontext():
        outputs = model.module(batch)
    outputs.square().sum().backward()
    return outputs.detach(), {name: weight.grad.clone() for name, weight in model.module.named_parameters()}


@pytest.mark.parametrize("name", ["resnet20", "vgg8", "timm:tf_efficientnet_lite0", "timm:mobilenetv3_small_050"])
def test_outputs_and_gradients_are_the_same(name, monkeypatch):
    model, norms = prepared(name)
    batch = torch.randn(4, 3, 16, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    outputs, expected = gradients(model, batch)
    calls: list[nn.Module] = []
    plain = nn.BatchNorm2d.forward
    monkeypatch.setattr(nn.BatchNorm2d, "forward", lambda self, x: calls.append(self) or plain(self, x))
    before = {key: id(value) for key, value in model.module.named_parameters()}
    merged, found = gradients(model, batch, norms)
    torch.testing.assert_close(merged, outputs)
    torch.testing.assert_close(found, expected)
    assert name.startswith("timm:") or not calls
    assert {key: id(value) for key, value in model.module.named_parameters()} == before
    torch.testing.assert_close(model.module(batch), outputs)


def test_norms_in_training_mode_are_left_alone():
    model, norms = prepared("resnet20")
    model.module.train()
    batch = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    expected = gradients(copy.deepcopy(model), batch)
    torch.testing.assert_close(gradients(model, batch, norms), expected)


def test_everything_is_restored_after_an_error():
    model, norms = prepared("resnet20")
    weights = list(model.module.parameters())
    with pytest.raises(RuntimeError), norms.merged():
        model.module(torch.randn(1, 5, 16, 16, dtype=torch.float64))
    assert all(one is other for one, other in zip(model.module.parameters(), weights, strict=True))
    assert not any("forward" in vars(part) for part in model.module.modules())
