from __future__ import annotations

import torch
from torch import nn

from shoestring.training.ema import WeightAverage


def test_the_average_follows_its_formula():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = WeightAverage(module, fraction=0.5, every=2)
    expected = module[0].weight.detach().clone()
    for step in range(1, 12):
        module(torch.randn(4, 2))
        with torch.no_grad():
            module[0].weight.add_(torch.randn(2, 2))
        average.update(module)
        if step % 2 == 0:
            weight = min(1.0, 2 / (0.5 * step))
            expected = (1 - weight) * expected + weight * module[0].weight.detach()
    twin = WeightAverage(module, fraction=0.5, every=2)
    twin.restore(average.state())
    twin.apply(module)
    assert torch.allclose(module[0].weight, expected, atol=1e-6)
    assert module[1].num_batches_tracked == 11
