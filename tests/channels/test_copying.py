from __future__ import annotations

import pytest
import torch
from torch import nn

from shoestring.channels.copying import nondegenerate_copy
from shoestring.channels.outputs import compute_outputs


def test_weights_of_a_nondegenerate_copy_affect_the_outputs():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))
    nn.init.zeros_(module[1].weight)
    nn.init.zeros_(module[2].weight)
    copy = nondegenerate_copy(module)
    assert not copy.training
    assert all(parameter.abs().min() > 1e-4 for parameter in copy.parameters())
    assert module[1].weight.abs().max() == module[2].weight.abs().max() == 0
    images = torch.randn(2, 3, 4, 4)
    assert compute_outputs(copy, images)[0].std() > 0.01
    with pytest.raises(ValueError, match=r"fails on an input of shape \(1, 2\)"):
        compute_outputs(copy, torch.zeros(1, 2))
