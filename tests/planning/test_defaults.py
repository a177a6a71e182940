from __future__ import annotations

from dataclasses import replace

import pytest

from shoestring.config.plan import StepTimes
from shoestring.config.recipe import Train
from shoestring.config.stages import Stages
from shoestring.data.augment import Augment
from shoestring.growth.compose import compose
from shoestring.planning import defaults


@pytest.mark.parametrize(("count", "size"), [(10, 32), (300, 37), (50_000, 500)])
def test_small_data_gets_small_batches_and_fast_devices_large_ones(count, size):
    assert defaults.default_batch_size(count, "cpu") == size
    assert defaults.default_batch_size(count, "cuda:1") == (1000 if size == 500 else size)


def test_batches_are_halved_while_time_is_short():
    long, short = 1000.0, 10.0
    quick, slow = (StepTimes(seconds) for seconds in (0.001, 1.0))

    def size(seconds: float, times: StepTimes, stages: str = "1@1") -> int:
        return defaults.fitting_batch_size(500, seconds, times, compose(Stages.parse(stages)), 32)

    assert size(long, quick) == 500
    assert size(short, quick) == 62
    assert size(long, replace(quick, update=4.7)) == 500  # half of the images would take nearly as long
    assert size(short, replace(quick, update=0.06)) == 62
    assert size(short, slow) == 62
    # 0.4 of the time goes into steps of a sixteenth, so there are seven times as many
    assert size(short, quick, "1@0.5@0.25:0.4,1@1") == 250
    assert size(short, quick, "0.5@1:0.5,1@1") == 62
    assert size(long, quick, "0.25@0.25:0.999,1@1") == 62  # the whole network needs some steps, too


def _augment(*args, **kwargs) -> Augment:
    return Augment(**defaults.augmentation(*args, **kwargs))


def test_augmentation_is_what_was_asked_for_or_goes_by_the_data():
    few, often = (_augment(Train(), count, mirrored=True, epochs=100) for count in (500, 50_000))
    many = _augment(Train(), 50_000, mirrored=True, epochs=10)
    assert (few.flip, few.shift, few.cutout, few.jitter) == (True, 0.125, 0.25, 0.5)
    assert (often.shift, often.cutout, often.jitter) == (0.125, 0.25, 0.0)
    assert (many.shift, many.cutout, many.jitter) == (0.0625, 0.0, 0.0)
    seldom = _augment(Train(), 500, mirrored=False, epochs=10)
    assert (seldom.flip, seldom.shift, seldom.jitter) == (False, 0.125, 0.0)
    assert [change.mixup for change in (few, often, many, seldom)] == [0.8, 0.0, 0.0, 0.0]
    wanted = Train(flip=True, shift=0.0, cutout=0.5, rotate=5, zoom=0.1, jitter=0.2, mixup=0.3)
    asked = _augment(wanted, 500, mirrored=False, epochs=10)
    assert (asked.jitter, asked.mixup) == (0.2, 0.3)
    assert (asked.flip, asked.shift, asked.cutout, asked.rotate, asked.zoom) == (True, 0.0, 0.5, 5, 0.1)
