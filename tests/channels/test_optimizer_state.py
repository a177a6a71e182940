from __future__ import annotations

import pytest
import torch
from torch import nn

from networks import network, random_kept
from shoestring.channels import Edit, apply_edits, drop, trace


def test_surgery_in_place_edits_optimizer_state_and_averages():
    module, images = network("resnet20", {"width": 0.5}).train(), torch.randn(4, 3, 16, 16)
    table = trace(module, images)
    optimizer = torch.optim.Adam(module.parameters())
    module(images).square().sum().backward()
    optimizer.step()
    before = {name: optimizer.state[p]["exp_avg"].clone() for name, p in module.named_parameters()}
    average = {name: value.clone() for name, value in module.state_dict().items()}
    kept = random_kept(table, 0.5)
    assert drop(module, table, kept, inplace=True, optimizers=[optimizer], averages=[average]) is module
    kept_indices = table.kept_indices(kept)
    for name, parameter in module.named_parameters():
        expected = before[name]
        for dim in range(expected.ndim):
            if (name, dim) in kept_indices:
                expected = expected.index_select(dim, kept_indices[name, dim])
        assert torch.equal(optimizer.state[parameter]["exp_avg"], expected)
        assert torch.equal(average[name], parameter)
    module(images).square().sum().backward()
    optimizer.step()


MAKERS = {
    "momentum": lambda p: torch.optim.SGD(p, 0.1, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p),
    "rmsprop": lambda p: torch.optim.RMSprop(p),
    "adagrad": lambda p: torch.optim.Adagrad(p),
    "adamax": lambda p: torch.optim.Adamax(p),
    "rprop": lambda p: torch.optim.Rprop(p),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=MAKERS.keys())
def test_moments_match_future_gradients(make):
    """Producers of a channel read with half weights get half of the gradient, consumers all of it."""
    module, images = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 3, 1)), torch.randn(2, 3, 4, 4)
    table, optimizer = trace(module, images), make(module.parameters())
    module(images).square().sum().backward()
    optimizer.step()
    key = next(key for key, value in optimizer.state[module[0].weight].items() if value.ndim == 4)
    before = {i: optimizer.state[module[i].weight][key].clone() for i in (0, 1)}
    source = torch.tensor([0, 0, 1])
    halves = Edit(source, lambda axis, w: w[..., source] * torch.tensor([0.5, 0.5, 1.0]), torch.tensor([0.5, 0.5, 1]))
    apply_edits(module, table, {"0": halves}, inplace=True, optimizers=[optimizer])
    power = 2 if key in ("exp_avg_sq", "square_avg", "sum") else 1
    scale = torch.tensor([0.5, 0.5, 1.0])[:, None, None, None] ** power
    assert torch.allclose(optimizer.state[module[0].weight][key], before[0][source] * scale)
    assert torch.allclose(optimizer.state[module[1].weight][key], before[1][:, source])
    optimizer.zero_grad()
    module(images).square().sum().backward()
    optimizer.step()


@pytest.mark.parametrize("kind", [torch.optim.Adafactor, torch.optim.LBFGS])
def test_unsupported_optimizer_state_raises_before_anything_changes(kind):
    module, images = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Flatten(), nn.Linear(64, 3)), torch.randn(2, 3, 4, 4)
    table, optimizer = trace(module, images), kind(module.parameters())

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = module(images).square().mean()
        value.backward()
        return value

    optimizer.step(loss)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    average = {name: tensor.clone() for name, tensor in before.items()}
    options = {"inplace": True, "optimizers": [optimizer], "averages": [average]}
    with pytest.raises(ValueError, match=f"state of {kind.__name__} cannot follow channels"):
        drop(module, table, {"0": torch.arange(2)}, **options)
    for tensors in (module.state_dict(), average):
        assert all(torch.equal(tensor, before[name]) for name, tensor in tensors.items())
    optimizer.step(loss)


def test_optimizers_require_inplace():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1))
    table = trace(module, torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="inplace"):
        drop(module, table, {}, optimizers=[torch.optim.SGD(module.parameters(), 0.1)])
