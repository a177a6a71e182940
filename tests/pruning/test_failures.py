from __future__ import annotations

import importlib

import pytest
from torch import nn

from shoestring.channels import trace
from shoestring.errors import UserError
from shoestring.models import Model, Preprocessing
from shoestring.pruning import shrink


class Brittle(nn.Module):
    """Reshapes one layer's output by the width of another."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.h = nn.Conv2d(3, 16, 1), nn.Conv2d(16, 16, 2, 2), nn.Linear(16, 5)

    def forward(self, images):
        first = self.a(images)
        return self.h(self.b(first).reshape(len(images), first.shape[1] * 1, -1).mean(2))


def test_networks_that_fail_after_pruning_raise_one_line(monkeypatch):
    """Even if a table is wrong despite verification, the user gets neither a broken network nor a traceback."""
    size = Preprocessing(16, 3, (0.5,) * 3, (0.25,) * 3)
    model = Model(Brittle(), "brittle", {}, tuple("abcde"), size)
    with pytest.raises(UserError, match=r"cannot be reached.*are frozen: when pruned, the network raises RuntimeError"):
        shrink(model, [], macs=0.5)
    module = importlib.import_module("shoestring.pruning.shrinking")
    monkeypatch.setattr(module, "trace", lambda module, example: trace(module, example, verify=False))
    with pytest.raises(UserError, match="RuntimeError") as caught:
        shrink(model, [], macs=0.5)
    assert "\n" not in str(caught.value)
