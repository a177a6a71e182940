"""Validation accuracy in progress reports, and so in history.jsonl."""

from __future__ import annotations

from dataclasses import replace

import pytest

from shoestring import evaluate, execute
from shoestring.budget import Budget
from shoestring.config.recipe import Grow, Train
from shoestring.execute import training
from shoestring.execute.training import _sampled_metrics
from shoestring.training import snapshots
from shoestring.training.early_stopping import Score
from shoestring.training.saving import Saver
from trainings import fit, prepare, run_train

SETTINGS = Train(model="simplecnn", batch_size=10)


def test_scores_of_early_stopping_are_reported(images, make_model, context, tmp_path):
    reported, scores = [], iter([0.25, 0.5, 0.75, *[0.75] * 30])
    context = replace(context, on_progress=lambda step, fraction, values: reported.append(values.get("validation")))
    window = Budget(epochs=8, steps=("train",)).window("train")
    settings = replace(SETTINGS, patience=4)
    fit(make_model(images), images, window, settings=settings, context=context, score=Score(lambda model: next(scores)))
    assert [value for value in reported if value is not None] == [0.25, 0.5, 0.75, *[0.75] * 4]


def test_snapshots_of_timed_trainings_are_validated_on_what_the_time_allows(images, make_model, context, tmp_path):
    window, asked = Budget(100, steps=("train",)).window("train"), []
    model = make_model(images)
    state = prepare(model, images, window, settings=SETTINGS, context=replace(context, folder=tmp_path))
    window.budget.seconds_per_pass = 0.001

    def validate(snapshot, count):
        asked.append(count)
        assert snapshot.module is not model.module
        return {"validation": 0.5, "validation_loss": 1.5}

    saver = Saver(state, window, replace(context, folder=tmp_path), anytime=True, validate=validate)
    assert saver.take_validation() == {}
    saver.snapshots.save(saver._snapshot)
    assert asked == [pytest.approx(0.0025 * window.length / 0.001, abs=1.5)]
    assert (saver.take_validation(), saver.take_validation()) == ({"validation": 0.5, "validation_loss": 1.5}, {})


def test_counted_trainings_validate_no_snapshots(images, make_model, context, tmp_path, monkeypatch):
    monkeypatch.setattr(snapshots, "_MIN_INTERVAL", 0.0)
    monkeypatch.setattr(snapshots, "_OVERHEAD", 1e9)
    monkeypatch.setattr(training, "_sampled_metrics", lambda *args: pytest.fail("validated"))
    around = replace(context, folder=tmp_path)
    run_train(
        images, SETTINGS, Grow("constant"), budget=Budget(epochs=4, steps=("train",)), context=around, validation=images
    )
    assert (tmp_path / "snapshot").exists()


def test_samples_are_used_unless_they_are_too_small(make_images, make_model):
    images = make_images(200)
    model = make_model(images)
    measured = evaluate(model, images)
    assert _sampled_metrics(images, model, 1000) == {
        "validation": measured.accuracy,
        "validation_loss": pytest.approx(measured.loss, rel=1e-5),
    }
    assert _sampled_metrics(images, model, 100) is not None
    assert _sampled_metrics(images, model, 10) is None
    few = _sampled_metrics(images[:20], model, 20)
    assert few is not None and few["validation"] == execute.accuracy(model, images[:20])
