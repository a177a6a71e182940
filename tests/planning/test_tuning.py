"""Which blocks of a pretrained network are trained, and the side of its input, by the time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shoestring.config.plan import StepTimes
from shoestring.planning.tuning import ENOUGH_EPOCHS, LEAST_EPOCHS, Work, choose_tuning

SIDES = (96, 128, 192)
WORK = Work(0.0, StepTimes(train=0.003, predict=0.001), count=1000, evaluated=0)
EPOCH, FEATURES = 3.0, 1.0  # seconds, with the smallest input
ENOUGH = ENOUGH_EPOCHS * EPOCH + FEATURES + 1e-6


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (4 * ENOUGH, (192, "all")),
        (2 * ENOUGH, (128, "all")),
        (ENOUGH, (96, "all")),
        (LEAST_EPOCHS * EPOCH + FEATURES + 1e-6, (96, "all")),
        (3.8, (128, "head")),
        (2.1, (96, "head")),
    ],
)
def test_the_time_decides_what_is_tuned(seconds, expected):
    assert choose_tuning(replace(WORK, seconds=seconds), SIDES, tune="auto") == expected


def test_a_head_alone_gets_features_of_larger_images():
    assert choose_tuning(replace(WORK, seconds=8.1), SIDES, tune="head") == (192, "head")
    assert choose_tuning(replace(WORK, seconds=1.0), SIDES, tune="head") == (96, "head")


def test_evaluation_takes_longer_with_larger_images():
    work = replace(WORK, seconds=4 * ENOUGH)
    assert choose_tuning(replace(work, evaluated=1000), SIDES, tune="auto")[0] == 128
    assert choose_tuning(replace(work, evaluated=100_000), SIDES, tune="auto") == (96, "all")


def test_requested_blocks_are_kept():
    little, much = replace(WORK, seconds=0.1), replace(WORK, seconds=1000.0)
    for tune in ("all", "last:3", "layer3,head"):
        assert choose_tuning(little, SIDES, tune=tune) == (96, tune)
        assert choose_tuning(much, SIDES, tune=tune) == (192, tune)


def test_few_images_need_more_epochs():
    few = replace(WORK, count=100, seconds=ENOUGH_EPOCHS * EPOCH)
    assert choose_tuning(few, SIDES, tune="auto") == (96, "all")
    assert choose_tuning(replace(few, seconds=0.9 * EPOCH), SIDES, tune="auto") == (192, "head")
