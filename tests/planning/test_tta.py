from __future__ import annotations

import pytest

from shoestring import Classifier, train
from shoestring.budget import Budget
from shoestring.config.plan import StepTimes
from shoestring.config.recipe import Train
from shoestring.planning.profiling import Profile, Profiler
from shoestring.planning.tta import with_tta

SETTINGS = {"model": "convnet", "width": 0.125, "batch_size": 16}


@pytest.fixture
def slow(monkeypatch):
    """A forward pass of an image takes a hundredth of a second, as measured."""
    monkeypatch.setattr(Profiler, "_measure", lambda *_: Profile("float32", StepTimes(1e-5, 0.01)))


@pytest.mark.parametrize(("evaluated", "expected"), [(1, "crops"), (10, "flip"), (60, "none")])
def test_tta_is_what_evaluation_has_time_for(make_images, context, slow, evaluated, expected):
    images = make_images(mirrored=True, side=32)
    profiler = Profiler(Budget(1.5, steps=("train",)), context)
    assert with_tta(Train(**SETTINGS), images, evaluated=evaluated, profiler=profiler)[0].tta == expected
    assert with_tta(Train(tta="flip", **SETTINGS), images, evaluated=99, profiler=profiler)[0].tta == "flip"
    counted = Profiler(Budget(epochs=1), context)
    assert with_tta(Train(**SETTINGS), images, evaluated=evaluated, profiler=counted)[0].tta == "crops"


def test_train_and_the_estimator_choose_it_as_a_run_does(make_images, context, slow):
    images = make_images(side=32, mirrored=True)
    budget = Budget(3, steps=("train",))
    model = train(images, validation=images, budget=budget, context=context, **SETTINGS)
    assert (model.preprocessing.shift, model.preprocessing.mirror) == (0, False)
    estimator = Classifier(time=3, random_state=0, mirrored=True, device="cpu", **SETTINGS)
    estimator.fit(images.pixels, images.targets, validation_data=(images.pixels, images.targets))
    assert (estimator.model_.preprocessing.shift, estimator.model_.preprocessing.mirror) == (0, False)
