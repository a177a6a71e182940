from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shoestring.config.recipe import Recipe
from shoestring.data.images import Dataset
from shoestring.models import Model, build
from shoestring.planning.model import preprocessing
from shoestring.planning.preflight import reserve_evaluation
from shoestring.reporting.markdown import summary
from shoestring.runs import steps
from shoestring.runs.directory import RunDir
from shoestring.runs.session import begin


@pytest.fixture
def evaluate_before_deadline(make_images, make_model, context, tmp_path) -> Callable[[float], dict[str, Any]]:
    """Evaluate a trained run so many seconds before its deadline at 1000 s; return the results."""

    def evaluate_run(seconds: float) -> dict[str, Any]:
        images = make_images(side=32, mirrored=True)
        data = Dataset("made", images, images[:20], images[20:])
        run = begin(Recipe(time="1000s"), RunDir(tmp_path), context=context, started=time.monotonic() - 1000 + seconds)
        size = preprocessing(images, mirror=True, tta="crops")
        run.reserve_end(data)
        reserve_evaluation(run.budget, data, size)
        model = build("simplecnn", classes=images.classes, preprocessing=size, options={"width": 0.125})
        model.save(run.folder / "train")
        return steps.evaluate(run, model, data, images, None)

    return evaluate_run


def test_evaluation_with_time_uses_full_tta(evaluate_before_deadline):
    result = evaluate_before_deadline(500.0)
    assert result["tta"] == {"model": "crops", "mirror": True, "images": {"crops": 40}}
    passes = result["prediction"]["passes"]
    assert 2 <= passes <= 6
    assert result["prediction"]["macs"] == round(passes * result["macs"])
    assert result["latency_batch_ms"] > 0


def test_evaluation_without_time_skips_tta_and_batch_latency(evaluate_before_deadline, tmp_path):
    result = evaluate_before_deadline(0.0)
    assert result["tta"] == {"model": "crops", "mirror": True, "images": {"none": 40}}
    assert result["prediction"]["passes"] == 1
    assert result["prediction"]["macs"] == result["macs"]
    assert result["latency_batch_ms"] is None
    assert (tmp_path / "evaluate" / "predictions.csv").read_text().count("\n") == 41
    dict(summary(result))


def test_reserve_for_evaluation_grows_with_images_and_classes(make_images, context, tmp_path):
    reserves = []
    for count, classes in ((40, 2), (40, 20), (400, 20)):
        images = make_images(count, classes=classes)
        run, data = (
            begin(Recipe(time="1000s"), RunDir(tmp_path), context=context, started=None),
            Dataset("made", images, images, images),
        )
        run.reserve_end(data)
        reserve_evaluation(run.budget, data, preprocessing(images))
        reserves.append(run.budget.reserved)
    assert reserves == sorted(set(reserves))


def test_temperature_does_not_depend_on_the_previous_one(images, make_model, context, tmp_path):
    """As when an evaluation was interrupted after saving its temperature."""
    model, temperatures = make_model(images), []
    for previous in (1.0, 7.0):
        run = begin(Recipe(epochs=1), RunDir(tmp_path), context=context, started=None)
        model.save(run.folder / "train")
        result = steps.evaluate(
            run, replace(model, temperature=previous), Dataset("made", images, images, images), images, None
        )
        temperatures.append(result["temperature"])
        assert Model.load(tmp_path / "train").temperature == temperatures[-1]
    assert temperatures[0] == temperatures[1]


def test_nan_loss_is_null_in_the_history(context, tmp_path):
    folder = RunDir(tmp_path / "run")
    run = begin(Recipe(epochs=1), folder, context=context, started=None)
    with folder.begin({}, ""):
        run.context.on_progress("train", 0.5, {"loss": float("nan"), "epoch": 1.0})
    [line] = (folder / "history.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail)["loss"] is None
