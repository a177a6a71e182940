from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

import shoestring
from label_images import LABELS, label_arrays
from shoestring.errors import BudgetTooSmall
from shoestring.evaluation.significance import compare_seeds
from shoestring.runs.directory import RunDir

SMALL = {"epochs": 2, "device": "cpu", "train": {"model": "simplecnn", "width": 0.125, "batch_size": 8}}


def result_of(folder: Path, name: str) -> dict:
    return RunDir(folder / "trials" / name).run["result"]


def test_seeds_give_a_mean_with_an_interval(in_process, data, tmp_path):
    out = tmp_path / "out"
    result = shoestring.sweep(data, out=out, seeds=3, **SMALL)
    accuracies = [result_of(out, f"001-seed-{seed}")["accuracy"] for seed in range(3)]
    [row] = result["rows"]
    assert row["accuracies"] == accuracies and row["accuracy"] == pytest.approx(np.mean(accuracies))
    assert row["interval"][0] <= row["accuracy"] <= row["interval"][1]
    assert len({result_of(out, f"001-seed-{seed}")["loss"] for seed in range(3)}) == 3
    assert result["split"] == "test" and result["kind"] == "seeds" and result["chosen"] is None
    seeds = [RunDir(out / "trials" / name).run["recipe"]["seed"] for name in row["runs"]]
    assert seeds == [0, 1, 2]
    assert "mean of 3" in (out / "report" / "report.md").read_text()
    saved = json.loads((out / "experiment.json").read_text())["result"]
    assert saved == json.loads(json.dumps(result))
    assert shoestring.sweep(data, out=out, seeds=3, **SMALL) == saved and len(in_process) == 3


def test_folds_predict_each_image_once(in_process, data, tmp_path):
    out = tmp_path / "out"
    result = shoestring.sweep(data, out=out, folds=3, **SMALL)
    rows = list(csv.DictReader((out / "out_of_fold.csv").read_text().splitlines()))
    assert len({row["id"] for row in rows}) == len(rows) == 90
    metrics = result["out_of_fold"]
    assert metrics["accuracy"] == pytest.approx(np.mean([row["class"] == row["predicted"] for row in rows]))
    folds = [result_of(out, f"001-fold-{number}") for number in (1, 2, 3)]
    assert metrics["loss"] == pytest.approx(sum(fold["loss"] * fold["images"] for fold in folds) / 90)
    assert metrics["images"] == 90 and json.loads((out / "metrics.json").read_text())["split"] == "out-of-fold"
    assert "Classes, out of fold" in (out / "report" / "report.md").read_text()


def test_folds_of_images_with_several_labels(in_process, tmp_path):
    images, labels = label_arrays(60)
    np.savez(tmp_path / "data.npz", images=images, labels=labels, classes=LABELS)
    result = shoestring.sweep(tmp_path / "data.npz", out=tmp_path / "out", folds=3, **{**SMALL, "epochs": 6})
    rows = list(csv.DictReader((tmp_path / "out" / "out_of_fold.csv").read_text().splitlines()))
    assert len({row["id"] for row in rows}) == len(rows) == 60 and {row["fold"] for row in rows} == {"1", "2", "3"}
    metrics = result["out_of_fold"]
    assert [sum(int(row[name]) for row in rows) for name in LABELS] == labels.sum(0).tolist()
    exact = [all(row[name] == row[f"{name} predicted"] for name in LABELS) for row in rows]
    assert metrics["accuracy"] == pytest.approx(np.mean(exact)) and metrics["task"] == "multi-label"
    scores = np.array([[float(row[f"{name} probability"]) for name in LABELS] for row in rows])
    true = np.array([[int(row[name]) for name in LABELS] for row in rows])
    assert metrics["macro_average_precision"] == pytest.approx(average_precision_score(true, scores), abs=1e-6)
    text = (tmp_path / "out" / "report" / "report.md").read_text()
    assert "Mean average precision" in text and "Labels, out of fold" in text


def test_settings_are_compared_on_folds(in_process, data, tmp_path):
    out, over = tmp_path / "out", {"train.learning_rate": [0.1, 1e-9]}
    result = shoestring.sweep(data, out=out, over=over, folds=3, **{**SMALL, "epochs": 4})
    assert in_process == [f"{setting}-fold-{fold}" for setting in ("001", "002") for fold in (1, 2, 3)]
    validated: list[str] = []
    for row in result["rows"]:
        runs = [result_of(out, name) for name in row["runs"]]
        assert {run["split"] for run in runs} == {"validation"} and [run["images"] for run in runs] == [30] * 3
        assert row["accuracy"] == pytest.approx(np.mean([run["accuracy"] for run in runs]))
    for name in result["rows"][0]["runs"]:
        file = out / "trials" / name / "evaluate" / "predictions.csv"
        validated += [row["id"] for row in csv.DictReader(file.read_text().splitlines())]
    assert len(set(validated)) == len(validated) == 90
    test = shoestring.load(data).test
    models = [shoestring.Model.load(out / "trials" / name) for name in result["rows"][0]["runs"]]
    accuracies = [shoestring.evaluate(model, test).accuracy for model in models]
    assert result["test"]["accuracy"] == pytest.approx(np.mean(accuracies)) and result["test"]["images"] == 30
    [found] = result["tests"]
    first, second = (row["accuracies"] for row in result["rows"])
    assert found["p_value"] == pytest.approx(compare_seeds(first, second, overlap=0.5).p_value)
    assert "cross-validation of 3 folds" in (out / "report" / "report.md").read_text()


def test_a_sweep_may_leave_the_test_split_for_later(in_process, data, tmp_path):
    over, settings = {"train.dropout": [0, 0.5]}, {**SMALL, "evaluate": "validation"}
    result = shoestring.sweep(data, out=tmp_path / "out", over=over, **settings)
    assert result["chosen"] is not None and result["test"] is None and not (tmp_path / "out" / "test").exists()
    assert "no test images were used" in (tmp_path / "out" / "report" / "report.md").read_text()


def test_a_sweep_uses_the_test_split_once_for_the_chosen_one(in_process, data, tmp_path):
    out = tmp_path / "out"
    over = {"train.learning_rate": [0.1, 1e-9], "train.dropout": [0, 0.1]}
    result = shoestring.sweep(data, out=out, over=over, **{**SMALL, "epochs": 12})
    assert len(in_process) == len(result["rows"]) == 4
    assert "learning_rate=0.1" in result["chosen"] and result["rows"][0]["name"] == result["chosen"]
    for name in in_process:
        assert result_of(out, name)["split"] == "validation"
    best = result["rows"][0]["runs"][0]
    model = shoestring.Model.load(out / "trials" / best)
    expected = shoestring.evaluate(model, shoestring.load(data).test)
    assert result["test"]["accuracy"] == pytest.approx(expected.accuracy)
    assert list((out / "test").iterdir()) == [out / "test" / best]
    assert len(result["tests"]) == 6 and all(test["adjusted"] >= test["p_value"] for test in result["tests"])
    rate, dropout = result["effects"]
    assert rate["setting"] == "train.learning_rate" and rate["explained"] > (dropout["explained"] or 0.0)
    table = list(csv.DictReader((out / "trials.csv").read_text().splitlines()))
    assert [row["name"] for row in table] == [row["name"] for row in result["rows"]]


def test_a_sweep_of_images_with_several_labels_compares_whole_images(in_process, tmp_path):
    (images, labels), (test, test_labels) = label_arrays(60), label_arrays(30, seed=1)
    arrays = {"images": images, "labels": labels, "test_images": test, "test_labels": test_labels}
    np.savez(tmp_path / "data.npz", **arrays, classes=LABELS)
    out, over = tmp_path / "out", {"train.learning_rate": [0.1, 1e-9]}
    result = shoestring.sweep(tmp_path / "data.npz", out=out, over=over, validation=0.4, **{**SMALL, "epochs": 6})
    [found] = result["tests"]
    first, second = (row["accuracy"] for row in result["rows"])
    assert found["difference"] == pytest.approx(first - second) and result["test"]["images"] == 30


def test_methods_and_seeds_are_tested_in_pairs_of_seeds(in_process, data, tmp_path):
    result = shoestring.sweep(data, out=tmp_path / "out", over={"train.dropout": [0, 0.5]}, seeds=2, **SMALL)
    [test] = result["tests"]
    first, second = (row["accuracies"] for row in result["rows"])
    assert test["difference"] == pytest.approx(np.mean(first) - np.mean(second)) and len(result["test"]["runs"]) == 2


def test_halving_gives_the_best_more_epochs(in_process, data, tmp_path):
    out, over = tmp_path / "out", {"train.learning_rate": [0.1, 1e-9, 1e-8, 1e-7]}
    result = shoestring.sweep(data, out=out, over=over, halving=4, **{**SMALL, "epochs": 8})
    assert in_process[-1].endswith("-round-2") and len(in_process) == 5
    epochs = [RunDir(out / "trials" / name).run["recipe"]["epochs"] for name in in_process]
    assert epochs == [2, 2, 2, 2, 8]
    assert result["rows"][0]["round"] == 1 and result["chosen"] == result["rows"][0]["name"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"epochs": 3},
            r"--halving 3 gives runs of this round 1 of 3 epochs, which is too small: .* About --epochs 29",
        ),
        ({}, r"--halving 3 gives runs of this round 3.33 of 10 epochs, which is too small: .* About --epochs 29"),
        ({"flops": "3e6"}, r"--halving 3 gives runs of this round 1e\+06 of 3e\+06 flops, which is too small"),
    ],
)
def test_too_small_a_budget_of_the_first_round_names_the_whole_one(in_process, data, tmp_path, settings, message):
    train = {**SMALL["train"], "batch_size": 64}
    over = {"train.dropout": [0, 0.1, 0.2]}
    with pytest.raises(BudgetTooSmall, match=message) as error:
        shoestring.sweep(data, out=tmp_path / "out", over=over, halving=3, jobs=1, **settings, train=train)
    assert error.value.least > (settings.get("epochs") or 0)


def test_the_pareto_front_of_accuracy_and_cost(in_process, data, tmp_path):
    over = {"train.width": [0.125, 0.25]}
    result = shoestring.sweep(
        data, out=tmp_path / "out", over=over, against="macs", epochs=2, train={"model": "simplecnn", "batch_size": 8}
    )
    macs = {row["name"]: row["macs"] for row in result["rows"]}
    assert min(macs, key=macs.__getitem__) in result["front"] and len(set(macs.values())) == 2
