from __future__ import annotations

import pytest
import torch

from shoestring.channels import trace
from shoestring.models.architectures.resnet import resnet20
from shoestring.pruning import shrink, step_times
from shoestring.pruning.step_times import rounded_if_faster

MODULE = resnet20(5).eval()
TABLE = trace(MODULE, torch.randn(1, 3, 16, 16))
NAMES = [name for name, group in TABLE.groups.items() if group.size == 64]
KEPT = {name: torch.arange(30 if name in NAMES else group.size) for name, group in TABLE.groups.items()}


def _rounded(kept, multiple):
    return {name: own[: len(own) // multiple * multiple] for name, own in kept.items()}


def _choose(monkeypatch, seconds_per_mac):
    """Choose among 30, 28 and 24 channels, of which a step takes these seconds for each MAC."""
    widths = []

    def step(module):
        widths.append(module.layer3[0].conv1.out_channels)

    def min_seconds(run, limit):
        run()
        return seconds_per_mac[widths[-1]] * TABLE.macs(_rounded(KEPT, {30: 1, 28: 4, 24: 8}[widths[-1]]))

    monkeypatch.setattr(step_times, "min_seconds", min_seconds)
    kept = rounded_if_faster(MODULE, TABLE, KEPT, _rounded, step)
    assert widths == [30, 28, 24]
    return {len(kept[name]) for name in NAMES}


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({30: 1.0, 28: 1.0, 24: 1.0}, 30),
        ({30: 1.0, 28: 0.97, 24: 0.99}, 30),
        ({30: 1.0, 28: 0.8, 24: 0.9}, 28),
        ({30: 1.0, 28: 0.8, 24: 0.7}, 24),
    ],
)
def test_numbers_are_rounded_if_that_takes_less_time_for_each_mac(monkeypatch, seconds, expected):
    assert _choose(monkeypatch, seconds) == {expected}


def test_pruning_rounds_by_the_time_of_a_step(make_model, images, monkeypatch):
    model = make_model(images, "resnet20", width=0.5)
    steps = []
    monkeypatch.setattr(step_times, "min_seconds", lambda run, limit: run() or float(len(steps) == 1))
    small = shrink(model, [], method="magnitude", macs=0.5, step=steps.append)
    assert len(steps) == 3
    counts = [layer.out_channels for layer in small.module.modules() if isinstance(layer, torch.nn.Conv2d)]
    usual = shrink(model, [], method="magnitude", macs=0.5).module
    assert counts != [layer.out_channels for layer in usual.modules() if isinstance(layer, torch.nn.Conv2d)]
    assert [count for count in counts if count % 4 and count > 4] == []
