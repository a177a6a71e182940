from __future__ import annotations

import subprocess
import sys

from torch import nn

from shoestring.models.meta import on_meta

SCRIPT = """
import sys
from shoestring.models.meta import on_meta
from shoestring.models.networks import create_network
import shoestring.runs.pipeline

for name in ("convnet", "simplecnn", "resnet18"):
    create_network(name, 3, 1, {}, pretrained=False)
print(*(name for name in ("torch._dynamo", "scipy.optimize", "matplotlib") if name in sys.modules))
"""


def test_weights_have_shapes_and_no_memory():
    with on_meta():
        layer = nn.Conv2d(3, 4, 1)
        nn.init.trunc_normal_(layer.weight)
        scale = nn.BatchNorm2d(4).weight
    assert layer.weight.is_meta and scale.is_meta
    assert layer.weight.shape == (4, 3, 1, 1)
    assert not nn.Conv2d(3, 4, 1).weight.is_meta


def test_slow_imports_are_left_out_of_a_run():
    """PyTorch's compiler alone takes two seconds."""
    ran = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == []
