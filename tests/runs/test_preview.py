from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shoestring.cli.main import main
from shoestring.config.recipe import Grow, Prune, Recipe, Select, Train
from shoestring.errors import BudgetTooSmall, UserError
from shoestring.runs import pipeline
from shoestring.runs.directory import RunDir
from shoestring.runs.preview import preview

RECIPE = Recipe(epochs=6, train=Train(model="resnet20", width=0.25, batch_size=30), device="cpu")

pytestmark = pytest.mark.usefixtures("few_digits")


def _plan(tmp_path, context, **changes) -> dict:
    return preview(replace(RECIPE, **changes), RunDir(tmp_path / "run"), context=context)


def test_plan_matches_the_run(tmp_path, context):
    grow = {"grow": Grow(stages="0.5@1@0.5:0.25,1@1")}
    plan = _plan(tmp_path, context, **grow)["training"]
    assert not (tmp_path / "run").exists()
    assert [(p["width"], p["depth"], p["fraction"]) for p in plan["phases"]] == [(0.5, 0.5, 0.25), (1.0, 1.0, 0.75)]
    assert plan["epochs"] == pytest.approx(6) and [p["steps"] for p in plan["phases"]] == [15, 45]
    result = pipeline.run(replace(RECIPE, **grow), RunDir(tmp_path / "run"), context=context)
    summary = RunDir(tmp_path / "run").run["training"]
    assert (plan["network"], plan["options"]) == (result["model"], result["options"])
    assert (plan["parameters"], plan["macs"]) == (result["params"], result["macs"])
    assert {name: plan[name] for name in ("grow", "precision", "optimizer", "batch_size")}.items() <= summary.items()
    assert summary["steps"] == sum(p["steps"] for p in plan["phases"])


def test_plan_ignores_a_finished_run(tmp_path, context):
    pipeline.run(RECIPE, RunDir(tmp_path / "run"), context=context)
    before = {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")}
    assert _plan(tmp_path, context)["training"]["epochs"] == pytest.approx(6)
    assert {file: file.stat().st_mtime_ns for file in tmp_path.rglob("*")} == before


def test_plan_divides_the_budget_among_steps(tmp_path, context):
    changes = {"select": Select("margin", 200), "prune": Prune(macs="0.5"), "epochs": 40}
    plan = _plan(tmp_path, context, **changes)
    assert plan["examples"] == 200
    assert {step: plan["budget"][step] for step in ("select", "train", "prune")} == {
        "select": 10,
        "train": 12,
        "prune": pytest.approx(18),
    }
    random = _plan(tmp_path, context, **{**changes, "select": Select("random", 200)})["budget"]
    assert (random["select"], random["train"]) == (0, pytest.approx(16))


def test_timed_plan_has_the_speed_of_each_stage(tmp_path, context):
    plan = _plan(tmp_path, context, epochs=None, time="60s", grow=Grow("width"))
    speeds = [p["images_per_second"] for p in plan["training"]["phases"]]
    assert len(speeds) == 2 and min(speeds) > 0
    spent = sum(p["epochs"] * 300 / p["images_per_second"] for p in plan["training"]["phases"])
    assert spent == pytest.approx(plan["training"]["length"], rel=0.01)
    assert plan["budget"]["spent"] + plan["budget"]["train"] + plan["budget"]["reserved"] == pytest.approx(60, rel=0.1)


def test_plan_refuses_what_the_run_would_refuse(tmp_path, context):
    with pytest.raises(BudgetTooSmall, match="The least that works"):
        _plan(tmp_path, context, epochs=0.1)
    with pytest.raises(UserError, match=r"end '0\.5@1' with 1@1"):
        _plan(tmp_path, context, grow=Grow(stages="0.5@1"))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("more", [(), ("--json",)])
def test_plan_flag_prints_the_plan_and_writes_nothing(tmp_path, capsys, more):
    words = ["train", "digits", "--epochs", "2", "--width", "0.125", "--plan", "--quiet", "--out", str(tmp_path / "x")]
    assert main([*words, *more]) == 0
    output = capsys.readouterr().out
    if more:
        assert json.loads(output)["training"]["network"] == "convnet"
    else:
        assert "2.0 epochs" in output and "constant" in output
    assert not (tmp_path / "x").exists()
