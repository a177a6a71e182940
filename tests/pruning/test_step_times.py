from __future__ import annotations

from itertools import cycle

import pytest
import torch

from shoestring.channels import trace
from shoestring.models.architectures.resnet import resnet20
from shoestring.pruning import shrink, step_times
from shoestring.pruning.step_times import STEPS, rounded_if_faster

MODULE = resnet20(5).eval()
TABLE = trace(MODULE, torch.randn(1, 3, 16, 16))
NAMES = [name for name, group in TABLE.groups.items() if group.size == 64]
KEPT = {name: torch.arange(30 if name in NAMES else group.size) for name, group in TABLE.groups.items()}


def _rounded(kept, multiple):
    return {name: own[: len(own) // multiple * multiple] for name, own in kept.items()}


def _width(module) -> int:
    return module.layer3[0].conv1.out_channels


@pytest.fixture
def clock(monkeypatch):
    """The seconds of the next step."""
    readings, seconds = cycle((False, True)), [0.0]
    monkeypatch.setattr(step_times.time, "perf_counter", lambda: seconds[0] if next(readings) else 0.0)
    return seconds


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        ({30: 1.0, 28: 1.0, 24: 1.0}, 30),
        ({30: 1.0, 28: 0.97, 24: 0.99}, 30),
        ({30: 1.0, 28: 0.8, 24: 0.9}, 28),
        ({30: 1.0, 28: 0.8, 24: 0.7}, 24),
    ],
)
def test_numbers_are_rounded_if_that_takes_less_time_for_each_mac(clock, seconds, expected):
    widths = []

    def step(module):
        widths.append(_width(module))
        macs = TABLE.macs(_rounded(KEPT, {30: 1, 28: 4, 24: 8}[widths[-1]]))
        # the first round, which is not counted, would favor other numbers; the second has the least times
        own, place = seconds[widths[-1]], (len(widths) - 1) // 3
        clock[0] = own * macs * place if place else 1e-6 / own

    kept = rounded_if_faster(MODULE, TABLE, KEPT, _rounded, step)
    assert widths == [30, 28, 24] * (STEPS // 3)
    assert {len(kept[name]) for name in NAMES} == {expected}


def test_nothing_is_timed_if_rounding_changes_nothing():
    kept = {name: own[:24] for name, own in KEPT.items()}
    assert rounded_if_faster(MODULE, TABLE, kept, lambda kept, multiple: dict(kept), pytest.fail) is kept


def test_numbers_stay_if_a_step_fails():
    def step(module):
        raise RuntimeError("out of memory")

    assert rounded_if_faster(MODULE, TABLE, KEPT, _rounded, step) is KEPT


def test_pruning_rounds_by_the_time_of_a_step(make_model, images, clock):
    model = make_model(images, "resnet20", width=0.5)
    widths = _widths(shrink(model, [], method="magnitude", macs=0.5).module)

    def step(module):
        clock[0] = 1.0 + (_widths(module) == widths)

    rounded = _widths(shrink(model, [], method="magnitude", macs=0.5, step=step).module)
    assert rounded != widths
    assert all(count % 4 == 0 or count < 8 for count in rounded)


def _widths(module) -> list[int]:
    return [layer.out_channels for layer in module.modules() if isinstance(layer, torch.nn.Conv2d)]
