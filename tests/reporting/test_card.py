from __future__ import annotations

import yaml

from run_data import CLASSES, result, run_data
from shoestring.reporting.card import model_card


def _parts(text: str) -> tuple[dict, str]:
    _, metadata, body = text.split("---\n", 2)
    return yaml.safe_load(metadata), body


def test_metadata_is_a_model_index():
    metadata, _ = _parts(model_card(run_data()))
    [model] = metadata["model-index"]
    [entry] = model["results"]
    assert model["name"] == "a <b> run" and entry["task"]["type"] == "image-classification"
    assert entry["dataset"] == {"type": "photos & more", "name": "photos & more", "split": "test"}
    assert {metric["type"]: metric["value"] for metric in entry["metrics"]} == {
        "accuracy": 0.88571,
        "balanced_accuracy": 0.89,
        "f1": 0.88,
    }
    assert metadata["pipeline_tag"] == "image-classification"


def test_text_names_data_results_and_limits_and_is_escaped():
    _, body = _parts(model_card(run_data()))
    assert "30 of 120 training images of photos &amp; more, selected by d2" in body
    assert "Accuracy 88.6 %" in body and "**Warning:** a class is never predicted." in body
    assert "It sees images at 8 x 8 pixels" in body
    assert "<script>" not in body and "\u202e" not in body


def test_weakest_and_untested_classes_are_limits():
    names = ["a", "b", "c", "d", "e"]
    recalls = {"a": 0.9, "b": 0.2, "c": 0.7, "d": 0.8, "e": None}
    per_class = {
        n: {"images": 0 if r is None else 9, "recall": r, "precision": None, "f1": r} for n, r in recalls.items()
    }
    body = _parts(model_card(run_data(result=result(per_class=per_class), intervals=dict.fromkeys(names), cells=())))[1]
    assert "b (20.0 %), c (70.0 %), d (80.0 %)." in body
    assert "Not tested, for lack of test images: e." in body


def test_card_without_metrics_has_no_model_index():
    unknown = dict.fromkeys(("accuracy", "interval", "balanced_accuracy", "macro_f1", "loss", "calibration_error"))
    per_class = {name: {"images": 0, "recall": None, "precision": None, "f1": None} for name in CLASSES}
    run = run_data(result=result(**unknown, per_class=per_class), cells=(), intervals=dict.fromkeys(CLASSES))
    metadata, body = _parts(model_card(run))
    assert "model-index" not in metadata and "not measured" in body
