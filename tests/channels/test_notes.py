"""Every frozen channel has a note with the reason."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
import torch.nn.utils.prune
from torch import nn

from shoestring.channels import drop, trace

IMAGES = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Step(nn.Module):
    """Two convolutions with an operation under test in between."""

    def __init__(self, step) -> None:
        super().__init__()
        self.first, self.second, self.step = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1), step
        self.register_buffer("unsaved", torch.rand(4, 1, 1), persistent=False)

    def forward(self, images):
        return self.second(self.step(self, self.first(images)))


class Stack(Step):
    """With a parameter that has channels along two axes."""

    def __init__(self, step) -> None:
        super().__init__(step)
        self.stack = nn.Parameter(torch.rand(4, 4, 1))


REASONS = {
    "a buffer": (Step(lambda m, x: x * m.unsaved), "the buffer 'unsaved' is not saved"),
    "a constant": (Step(lambda m, x: x + torch.ones(4, 1, 1)), "combined with a constant in the code"),
    "a constant of the right size": (
        Step(lambda m, x: x + torch.ones(x.shape[1], 1, 1)),
        "combined with a constant in the code",
    ),
    "images": (Step(lambda m, x: x + F.pad(m.images, (0, 0, 0, 0, 0, 1))), "combined with the input images"),
    "no rule": (Step(lambda m, x: x.cumsum(1)), "they pass through 'cumsum', which has no rule"),
    "one channel": (Step(lambda m, x: x + x.roll(1, 1)), "each group has only one"),
    "indices": (Step(lambda m, x: x * (1 + x.mean((2, 3)).argmax(1))), "their indices are used"),
    "broadcast": (Stack(lambda m, x: (x[:, :, None] * m.stack[None, ..., None]).sum(1)), "broadcast over many others"),
    "two axes": (Stack(lambda m, x: x * m.stack[:, 0, :, None]), "along 2 axes of 'stack'"),
    "a weight computed by hand": (Step(lambda m, x: F.conv2d(x, torch.ones(4, 4, 1, 1) * m.unsaved)), "not parameters"),
}


@pytest.mark.parametrize(("module", "reason"), REASONS.values(), ids=REASONS.keys())
def test_reasons(module, reason):
    if "images" in reason:
        module.register_forward_pre_hook(lambda own, args: setattr(own, "images", args[0]))
    table = trace(module, IMAGES)
    assert all(group.size == 1 for group in table.groups.values())
    assert any(reason in note and ("first" in note or "not parameters" in note) for note in table.notes), table.notes


@pytest.mark.filterwarnings("ignore:.*weight_norm.*:FutureWarning")
@pytest.mark.parametrize("how", ["weight_norm", "prune"])
def test_networks_that_cannot_be_copied_get_a_note_with_the_remedy(how):
    layer = nn.Conv2d(3, 4, 1)
    if how == "prune":
        torch.nn.utils.prune.l1_unstructured(layer, "weight", 0.5)
    else:
        torch.nn.utils.weight_norm(layer)
    module = nn.Sequential(layer, nn.Conv2d(4, 2, 1))
    table = trace(module, IMAGES)
    assert not table.groups
    assert table.macs() == 64 * (12 + 8)
    remedy = "torch.nn.utils.prune.remove(layer, 'weight')" if how == "prune" else "remove_weight_norm(layer, 'weight')"
    assert "'0' recomputes its weight before each forward pass; make it a plain parameter with" in table.notes[0]
    assert remedy in table.notes[0]
    with pytest.raises(ValueError, match="cannot be copied"):
        drop(module, table, {})
    if how == "prune":
        torch.nn.utils.prune.remove(layer, "weight")
    else:
        torch.nn.utils.remove_weight_norm(layer)
    assert trace(module, IMAGES).groups["0"].size == 4


def test_long_lists_are_shortened():
    layers = [nn.Conv2d(4, 4, 1) for _ in range(14)]
    module = nn.Sequential(nn.Conv2d(3, 4, 1), *(part for layer in layers for part in (layer, AddConstants())))
    (note,) = trace(module, IMAGES).notes
    assert "and 4 more are frozen: they are combined with a constant" in note


class AddConstants(nn.Module):
    """Adds a different constant to each channel."""

    def forward(self, maps):
        return maps + torch.arange(4.0).view(4, 1, 1)
