from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from shoestring.channels import Table, drop, trace
from shoestring.channels.verify import zero_out

IMAGE = torch.zeros(1, 3, 8, 8)


def _notes(table: Table) -> list[str]:
    """Notes about channels; each operation under test leaves some parameters unused."""
    return [note for note in table.notes if "never runs" not in note]


class Step(nn.Module):
    """Two convolutions with an operation under test in between."""

    def __init__(self, step, between: int = 4) -> None:
        super().__init__()
        self.first, self.step, self.second = nn.Conv2d(3, 4, 1), step, nn.Conv2d(between, 4, 1)
        self.scale = nn.Parameter(torch.rand(4, 1, 1))
        self.half, self.groups = 2, 2
        self.gamma = nn.Parameter(torch.tensor(1e-7))

    def forward(self, images):
        return self.second(self.step(self, self.first(images)))


def _assign(module: Step, maps: torch.Tensor) -> torch.Tensor:
    other = torch.zeros(1, 4, 8, 8)
    maps[:, :2] = other[:, :2]
    return maps


def _shuffle(module: Step, maps: torch.Tensor) -> torch.Tensor:
    batch, channels, height, width = maps.shape
    parts = maps.view(batch, module.groups, channels // module.groups, height, width)
    return parts.transpose(1, 2).reshape(batch, channels, height, width)


PASSED_THROUGH = {
    "residual": lambda m, x: F.relu(x) + x,
    "in place": lambda m, x: x.mul_(2).add_(1),
    "scale": lambda m, x: x * m.scale,
    "constant": lambda m, x: x * torch.tensor(0.5) + 1,
    "gate": lambda m, x: x * x.mean((2, 3), keepdim=True).sigmoid(),
    "spatial slice": lambda m, x: x[:, :, 1:, ::2],
    "pad": lambda m, x: F.pad(x, (1, 1, 1, 1)),
    "resize": lambda m, x: F.interpolate(x, scale_factor=2),
    "there and back": lambda m, x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "tokens": lambda m, x: x.flatten(2).transpose(1, 2).transpose(1, 2).unsqueeze(3),
    "attributes": lambda m, x: x if x.grad_fn is None and x.shape[1] == x.size(1) else -x,
    "sorting": lambda m, x: x.mT.max(-1, keepdim=True)[0].mT,
    "concatenated slices of channels": lambda m, x: torch.cat([x[:, :2], x[:, 2:]], 1),
    "shape of another": lambda m, x: x.flatten(2).reshape_as(x),
    "where": lambda m, x: torch.where(x > 0, x, 0.1 * x),
}


@pytest.mark.parametrize("step", PASSED_THROUGH.values(), ids=PASSED_THROUGH.keys())
def test_channels_pass_through(step):
    table = trace(Step(step), IMAGE)
    assert {name: group.size for name, group in table.groups.items()} == {"first": 4}
    assert table.axes["second.weight", 1].tolist() == table.axes["first.weight", 0].tolist()
    assert _notes(table) == []
    assert table.groups["first"].separable


UNITED = {
    "equal parts": (lambda m, x: torch.cat(x.chunk(2, 1), 1), 4, [0, 1, 0, 1]),
    "a size in the code": (lambda m, x: torch.cat(x.split(m.half, 1), 1), 4, [0, 1, 0, 1]),
    "gated halves": (lambda m, x: torch.mul(*x.chunk(2, 1)), 2, [0, 1]),
    "shuffle": (_shuffle, 4, [0, 0, 1, 1]),
    "sum over groups": (lambda m, x: x.view(1, 2, -1, 8, 8).sum(1), 2, [0, 1]),
    "stack": (lambda m, x: torch.stack([x, x], 1).flatten(1, 2), 8, [0, 1, 2, 3, 0, 1, 2, 3]),
}


@pytest.mark.parametrize(("step", "between", "read"), UNITED.values(), ids=UNITED.keys())
def test_channels_that_must_be_pruned_together_are_one(step, between, read):
    table = trace(Step(step, between), IMAGE)
    assert _notes(table) == []
    assert table.axes["second.weight", 1].tolist() == read


MIXED = {
    "softmax": lambda m, x: x.softmax(1),
    "mean": lambda m, x: x - x.mean(1, keepdim=True),
    "unit length": lambda m, x: F.normalize(x),
    "layer norm": lambda m, x: F.layer_norm(x.movedim(1, 3), x.shape[1:2]).movedim(3, 1),
    "length": lambda m, x: x / x.norm(p=2, dim=1, keepdim=True),
    "variance": lambda m, x: x - x.var(dim=1, keepdim=True),
}
COPYABLE = {"mean", "layer norm"}


@pytest.mark.parametrize(("name", "step"), MIXED.items(), ids=MIXED.keys())
def test_statistics_over_channels_are_detected(name, step):
    table = trace(Step(step), IMAGE)
    (group,) = table.groups.values()
    assert (group.size, group.separable, group.homogeneous) == (4, False, False)
    assert group.copyable == (name in COPYABLE)


@pytest.mark.parametrize("size", [4, 5, 9, 16])
@pytest.mark.parametrize("first", [2, 3])
def test_fixed_slices_are_detected_at_any_size(size, first):
    class Slice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.last = nn.Conv2d(3, size, 1), nn.Conv2d(size, 2, 1)

        def forward(self, images):
            maps = self.conv(images)
            return self.last(maps.softmax(1) + 0.1 * maps[:, :first].mean(1, keepdim=True))

    assert not trace(Slice(), torch.zeros(1, 3, 8, 8)).groups


NO_RULE = {
    "__setitem__": _assign,
    "einsum": lambda m, x: torch.einsum("nchw,nchw->nchw", x, x),
    "cumsum": lambda m, x: x.cumsum(1),
}


@pytest.mark.parametrize(("name", "step"), NO_RULE.items(), ids=NO_RULE.keys())
def test_operations_without_a_rule_freeze_channels(name, step):
    table = trace(Step(step), IMAGE)
    assert "first" not in table.groups
    assert any(f"'{name}'" in note for note in table.notes)


FAILING = {
    "reshape": lambda m, x: x.reshape(1, 2, 2, 64).reshape(1, 4, 8, 8),
    "slice": lambda m, x: F.pad(x, (0, 0, 0, 0, 1, 1))[:, 1:5],
    "after a scale that starts near zero": lambda m, x: x + m.gamma * torch.cat([2 * x[:, :2], x[:, 2:]], 1),
    "slice scaled": lambda m, x: torch.cat([2 * x[:, :2], x[:, 2:]], 1),
    "slice scaled before a softmax": lambda m, x: torch.cat([2 * x[:, :2], x[:, 2:]], 1).softmax(1),
}


@pytest.mark.parametrize("step", FAILING.values(), ids=FAILING.keys())
def test_groups_that_fail_verification_are_frozen_and_noted(step):
    table = trace(Step(step), IMAGE)
    assert "first" not in table.groups
    assert any("channels of first are frozen: when pruned, " in note for note in table.notes)


@pytest.mark.parametrize(
    ("step", "remaining"),
    [
        (lambda m, x: x + 0.3 * x[:, :1].sigmoid(), 3),  # one channel that is combined with all others is frozen
        (lambda m, x: x + 0.3 * x[:, -1:].sigmoid(), 3),
        (lambda m, x: x + 0.3 * x.roll(1, 1), 1),  # every channel is combined with the next: they are all one
    ],
)
def test_channels_combined_with_others(step, remaining):
    module, images = Step(step), torch.randn(1, 3, 8, 8)
    table = trace(module, images)
    assert {name: group.size for name, group in table.groups.items()} == {"first": remaining}
    kept = {"first": torch.tensor([remaining - 1])}
    with torch.no_grad():
        assert torch.allclose(drop(module, table, kept)(images), zero_out(module, table, kept)(images), atol=1e-5)


def test_constants_freeze_channels():
    assert not trace(Step(lambda m, x: x + torch.arange(4.0).view(1, 4, 1, 1)), IMAGE).groups


def test_one_channel_broadcast_over_many_is_not_united_with_them():
    class Gate(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.many, self.last = nn.Conv2d(3, 1, 1), nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

        def forward(self, images):
            return self.last(self.many(images) * self.one(images).sigmoid())

    assert {name: group.size for name, group in trace(Gate(), IMAGE).groups.items()} == {"many": 4}
