from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from shoestring.config.recipe import Prune, Recipe, Train
from shoestring.errors import UserError
from shoestring.models.model import Model
from shoestring.pruning import latency
from shoestring.runs import pipeline, sensitivity
from shoestring.runs.directory import RunDir
from shoestring.runs.validate import check
from shoestring.runtime.context import Context

TRAIN = Recipe(data="digits", epochs=6, train=Train(model="convnet", width=0.125, batch_size=32))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "trained"
    pipeline.run(TRAIN, RunDir(folder), context=Context())
    return folder


def _recipe(trained: Path, **prune) -> Recipe:
    return replace(TRAIN, start=str(trained), epochs=1, prune=Prune(**prune))


def _rows(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as lines:
        return list(csv.DictReader(lines))


@pytest.mark.usefixtures("charts")
def test_what_pruning_cost_is_measured_on_the_same_images(trained, tmp_path, monkeypatch):
    monkeypatch.setattr(latency, "_exported", lambda module, example: sum(p.numel() for p in module.parameters()))
    monkeypatch.setattr(latency, "_median_milliseconds", lambda params, example, threads: params / 1000)
    whole = Model.load(trained)
    params = sum(weight.numel() for weight in whole.module.parameters())
    result = pipeline.run(_recipe(trained, latency=f"{params / 2000}ms"), RunDir(tmp_path / "small"), context=Context())
    folder, content = tmp_path / "small" / "prune", json.loads((tmp_path / "small/prune/comparison.json").read_text())
    before, after = content["points"]["before"], content["points"]["after"]
    assert (content["split"], content["finished"]) == ("validation", True)
    assert content["images"] == result["validation_images"]
    assert before["accuracy"] == result["before_pruning"]["validation"]
    assert after["accuracy"] == result["validation"]
    assert content["change"] == pytest.approx(after["accuracy"] - before["accuracy"])
    assert all(after[name] == result[name] for name in ("macs", "params", "file_bytes"))
    assert after["file_bytes"] == (folder / "model.safetensors").stat().st_size
    assert before["onnx_one_thread_ms"] == params / 1000
    assert after["onnx_one_thread_ms"] == after["onnx_all_threads_ms"] == after["params"] / 1000 <= params / 2000
    assert before["latency_ms"] > 0 and after["latency_ms"] > 0
    assert result["before_pruning"]["p_value"] == content["p_value"]
    classes = _rows(folder / "per_class.csv")
    assert sum(int(row["images"]) for row in classes) == content["images"]
    assert all(float(row["low"]) <= float(row["change"]) <= float(row["high"]) for row in classes)
    assert len(_rows(folder / "confusions.csv")) == len(content["confusions"])
    layers = _rows(folder / "layers.csv")
    assert sum(int(row["parameters before"]) for row in layers) == before["params"]
    assert sum(int(row["parameters after"]) for row in layers) == after["params"]
    assert any(row["shape before"] != row["shape after"] for row in layers)
    _check_pareto(folder, before, after)
    predicted = np.load(folder / "predicted_before.npy")
    assert len(predicted) == content["images"]


def _check_pareto(folder: Path, before: dict[str, float], after: dict[str, float]) -> None:
    content, table = json.loads((folder / "pareto.json").read_text()), _rows(folder / "pareto.csv")
    first, last, *measured = content["points"]
    assert (first["network"], last["network"]) == ("before", "after") and content["finished"]
    costs = ("accuracy", "macs", "params", "file_bytes", "latency_ms", "onnx_one_thread_ms", "onnx_all_threads_ms")
    assert [first[name] for name in costs] == [before[name] for name in costs]
    assert [last[name] for name in costs] == [after[name] for name in costs]
    assert first["low"] < first["accuracy"] <= first["high"]
    assert measured and all(point["accuracy"] is None for point in measured)
    assert all(point["onnx_one_thread_ms"] == point["params"] / 1000 for point in measured)
    chosen = [point for point in measured if point["params"] == last["params"]]
    assert {point["macs"] for point in chosen} == {last["macs"]}
    assert [row["network"] for row in table] == [point["network"] for point in content["points"]]
    assert [float(row["macs"]) for row in table] == [point["macs"] for point in content["points"]]
    assert {row["accuracy"] for row in table[2:]} == {""}
    page = (folder.parent / "report" / "index.html").read_text()
    assert all(f"chart-{name}" in page for name in ("over-macs", "over-params", "over-file", "search"))


@pytest.mark.usefixtures("charts")
def test_without_a_search_there_are_two_points(trained, tmp_path):
    pipeline.run(_recipe(trained, macs="0.5"), RunDir(tmp_path / "small"), context=Context())
    points = json.loads((tmp_path / "small" / "prune" / "pareto.json").read_text())["points"]
    assert [point["network"] for point in points] == ["before", "after"]
    assert points[1]["macs"] <= 0.5 * points[0]["macs"] and points[0]["onnx_one_thread_ms"] is None
    assert "chart-search" not in (tmp_path / "small" / "report" / "index.html").read_text()


def test_the_default_criterion_is_recorded_in_the_plan(trained, tmp_path):
    pipeline.run(_recipe(trained, macs="0.5"), RunDir(tmp_path / "small"), context=Context())
    run = RunDir(tmp_path / "small").run
    assert run["recipe"]["prune"]["method"] == "auto"
    assert (run["plan"]["prune"], run["plan"]["reasons"]["prune"]) == (
        "greedy",
        "the default criterion; the channels of all layers compete",
    )


def test_sensitivity_of_each_layer_of_a_run(trained, tmp_path):
    before = {file: file.read_bytes() for file in trained.rglob("*") if file.is_file()}
    result = sensitivity.scan(_recipe(trained, method="magnitude"), RunDir(tmp_path / "none"), context=Context())
    assert (result["method"], result["split"]) == ("magnitude", "validation")
    assert len({row["group"] for row in result["groups"]}) > 3
    assert all(0 <= row["accuracy"] <= 1 and row["kept"] < row["channels"] for row in result["groups"])
    json.dumps(result)
    assert not (tmp_path / "none").exists()
    assert {file: file.read_bytes() for file in trained.rglob("*") if file.is_file()} == before


@pytest.mark.parametrize("prune", [Prune(method="random"), Prune(scope="uniform"), Prune(compensate=False)])
def test_settings_of_pruning_need_a_target(prune):
    with pytest.raises(UserError, match="pruning settings have no effect without a target"):
        check(Recipe(prune=prune))
    check(Recipe(prune=prune), pruned=True)
    check(Recipe(prune=replace(prune, macs="0.5")))


def test_options_need_a_named_method():
    with pytest.raises(UserError, match="'norm' is an option of a pruning method: name the method as well"):
        Prune(macs="0.5", options={"norm": "l1"})
