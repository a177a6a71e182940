"""Which blocks of a pretrained network are trained, and the side of its input, by the time."""

from __future__ import annotations

from dataclasses import replace

import pytest
from torch import nn

from shoestring.config.plan import StepTimes
from shoestring.models.model import Model
from shoestring.models.preprocessing import Preprocessing
from shoestring.planning.tuning import ALL_EPOCHS, LAST_EPOCHS, LastBlocks, Work, choose_tuning, last_blocks

SIDES = (96, 128, 192)
LAST = LastBlocks("last:3", 0.5)
WORK = Work(0.0, StepTimes(train=0.03, predict=0.01), count=100, evaluated=0)
EPOCH = 3.0  # seconds, with the smallest input


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (4 * ALL_EPOCHS * EPOCH, (192, "all")),
        (2 * ALL_EPOCHS * EPOCH, (128, "all")),
        (ALL_EPOCHS * EPOCH, (96, "all")),
        (2.0 + LAST_EPOCHS * EPOCH / 2, (96, "last:3")),  # the frozen half runs once for each of four views
        (3.0, (96, "head")),
    ],
)
def test_the_time_decides_what_is_tuned(seconds, expected):
    assert choose_tuning(replace(WORK, seconds=seconds), SIDES, tune="auto", last=LAST) == expected


def test_a_head_alone_gets_features_of_larger_images():
    assert choose_tuning(replace(WORK, seconds=8.0), SIDES, tune="head", last=LAST) == (192, "head")
    assert choose_tuning(replace(WORK, seconds=1.0), SIDES, tune="head", last=LAST) == (96, "head")


def test_evaluation_takes_longer_with_larger_images():
    work = replace(WORK, seconds=4 * ALL_EPOCHS * EPOCH)
    assert choose_tuning(replace(work, evaluated=100), SIDES, tune="auto", last=LAST)[0] == 128
    assert choose_tuning(replace(work, evaluated=10_000), SIDES, tune="auto", last=LAST) == (96, "all")


def test_requested_blocks_are_kept():
    little, much = replace(WORK, seconds=0.1), replace(WORK, seconds=1000.0)
    for tune in ("all", "last:3", "layer3,head"):
        assert choose_tuning(little, SIDES, tune=tune, last=LAST) == (96, tune)
        assert choose_tuning(much, SIDES, tune=tune, last=LAST) == (192, tune)


def test_without_blocks_that_can_be_frozen_all_or_the_head_are_trained():
    less = replace(WORK, seconds=ALL_EPOCHS * EPOCH - 1.0)
    assert choose_tuning(less, SIDES, tune="auto", last=None)[1] == "head"


def test_last_blocks_have_at_most_half_of_the_work():
    layers = [nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 1), nn.Conv2d(4, 4, 1), nn.Flatten(), nn.Linear(4 * 64, 2)]
    module = nn.Sequential(*layers)
    heads = ("4.weight", "4.bias")
    size = Preprocessing(8, 3, (0.5,) * 3, (0.5,) * 3)
    model = Model(module, "custom", {}, ("a", "b"), size, heads=heads)
    found = last_blocks(model)
    assert found is not None and found.tune == "last:1"
    assert found.frozen == pytest.approx(28 / 52, abs=0.1)
