from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shoestring.config.layers import merge
from shoestring.config.recipe import Prune, Recipe, Select, Train
from shoestring.config.recipe_file import read
from shoestring.errors import UserError
from shoestring.models.model import Model
from shoestring.runs import pipeline, session
from shoestring.runs.directory import RunDir
from shoestring.selection import Subset

RECIPE = Recipe(
    epochs=8,
    select=Select(method="forgetting", examples=100),
    train=Train(model="convnet", width=0.125, batch_size=16),
    prune=Prune(macs="0.5"),
    device="cpu",
)
FILES = [
    "recipe.yaml",
    "run.json",
    "history.jsonl",
    "select/subset.json",
    "train/model.json",
    "train/model.safetensors",
    "prune/model.json",
    "prune/model.safetensors",
    "evaluate/metrics.json",
    "evaluate/per_class.csv",
    "evaluate/confusion.csv",
    "evaluate/predictions.csv",
    "report/report.md",
]
QUICK = replace(RECIPE, select=Select("random", 100), prune=Prune(), epochs=2)


pytestmark = pytest.mark.usefixtures("few_digits")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Folder of the uninterrupted run."""
    return RunDir(tmp_path_factory.mktemp("runs") / "whole")


@pytest.fixture
def result(whole, context):
    """Result of the uninterrupted run."""
    return pipeline.run(RECIPE, whole, context=context)


def _interrupt(name: str, *_) -> None:
    """Progress callback that interrupts training."""
    if name == "train":
        raise KeyboardInterrupt


def _reproducible(result: dict) -> dict:
    """Return the result without the values that differ from run to run."""
    timed = ("seconds", "ledger", "out", "latency_ms", "latency_threads_ms", "latency_batch_ms", "prediction")
    return {k: v for k, v in result.items() if k not in timed}


def test_run_writes_all_files(whole, result):
    assert [name for name in FILES if not (whole / name).is_file()] == []
    assert not list(whole.path.rglob("state.pt"))
    assert {"accuracy", "interval", "per_class", "params", "macs", "seconds", "out"} <= result.keys()
    assert whole.run["result"] == json.loads(json.dumps(result))
    steps = {"start", "load", "plan", "select", "train", "validate", "prune", "evaluate", "report"}
    assert set(whole.run["ledger"]) == steps
    assert merge(("file", read(whole / "recipe.yaml")))[0] == RECIPE
    assert {row["step"] for row in whole.history()} >= {"select", "train", "prune"}
    assert result["macs"] <= 0.5 * result["before_pruning"]["macs"]
    assert json.loads((whole / "evaluate" / "metrics.json").read_text())["accuracy"] == result["accuracy"]
    assert Model.load(whole / "prune").classes == tuple("0123456789")


def test_repeated_command_logs_that_the_run_is_done(whole, result, context):
    notes: list[str] = []
    before = {file: file.stat().st_mtime_ns for file in whole.path.rglob("*")}
    again = pipeline.run(RECIPE, whole, context=replace(context, log=notes.append))
    assert again == json.loads(json.dumps(result))
    assert notes == [f"{whole.path} is already done; delete it to start over"]
    assert {file: file.stat().st_mtime_ns for file in whole.path.rglob("*")} == before


def test_different_recipe_in_the_same_folder_is_refused(whole, result, context):
    with pytest.raises(UserError, match="seed is 0 there and 1 here"):
        pipeline.run(replace(RECIPE, seed=1), whole, context=context)


@pytest.mark.parametrize(("step", "count"), [("select", 5), ("train", 1), ("train", 4), ("prune", 1), ("prune", 3)])
def test_interrupted_run_resumes_to_the_same_result(whole, result, context, tmp_path, every_step, step, count):
    folder, seen = RunDir(tmp_path / "run"), []

    def interrupt(name: str, *_) -> None:
        seen.append(name)
        if seen.count(step) == count:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.run(RECIPE, folder, context=replace(context, on_progress=interrupt))
    assert "result" not in folder.run
    assert _reproducible(pipeline.run(RECIPE, folder, context=context)) == _reproducible(result)
    for name in ("train", "prune"):
        one, other = ((f / name / "model.safetensors").read_bytes() for f in (whole, folder))
        assert one == other
    assert not list(folder.path.rglob("state.pt"))


def test_saved_subset_is_reused(whole, result, context, tmp_path):
    file = whole / "select" / "subset.json"
    recipe = replace(QUICK, epochs=3, select=Select(subset=str(file)))
    again = pipeline.run(recipe, RunDir(tmp_path / "run"), context=context)
    assert again["examples"] == 100
    assert again["select"] == "forgetting"
    other = replace(recipe, split_seed=1)
    with pytest.raises(UserError, match="selected from other images"):
        pipeline.run(other, RunDir(tmp_path / "other"), context=context)
    assert not (tmp_path / "other").exists()


def test_baseline_is_a_separate_run(context, tmp_path):
    recipe = replace(RECIPE, baseline=True, prune=Prune())
    folder = RunDir(tmp_path / "run")
    result = pipeline.run(recipe, folder, context=context)
    paired = {"difference", "difference_interval", "p_value"}
    assert set(result["baseline"]) == {"accuracy", "interval", "warnings", "seconds", "out", *paired}
    control = Subset.load(folder / "baseline" / "select" / "subset.json")
    assert (control.method, len(control)) == ("random", 100)
    assert folder.run["result"]["baseline"]["accuracy"] == RunDir(folder / "baseline").run["result"]["accuracy"]
    assert "random subset instead" in (folder / "report" / "report.md").read_text()


def test_baseline_draws_other_images_with_the_same_balance(context, tmp_path):
    first = pipeline.run(
        replace(QUICK, select=Select("random", 100, "proportional")), RunDir(tmp_path / "a"), context=context
    )
    subset = str(tmp_path / "a" / "select" / "subset.json")
    folder = RunDir(tmp_path / "run")
    pipeline.run(replace(QUICK, select=Select(subset=subset), baseline=True), folder, context=context)
    control = Subset.load(folder / "baseline" / "select" / "subset.json")
    assert control.balance == "proportional" and len(control) == first["examples"]
    assert sorted(control.indices) != sorted(Subset.load(tmp_path / "a" / "select" / "subset.json").indices)


def test_resumed_run_keeps_its_network_when_less_time_remains(context, tmp_path, every_step, monkeypatch):
    from shoestring.planning import model

    recipe = replace(QUICK, train=Train(batch_size=16))
    folder = RunDir(tmp_path / "run")
    monkeypatch.setattr(model, "_TRIAL", 0.25)
    seen: list[str] = []

    def interrupt(name: str, *_) -> None:
        seen.append(name)
        if seen.count("train") == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline.run(recipe, folder, context=replace(context, on_progress=interrupt))
    monkeypatch.setattr(model, "_TRIAL", 0.125)
    assert pipeline.run(recipe, folder, context=context)["options"] == {"width": 0.25}


def test_seconds_before_an_interruption_are_counted_for_any_budget(context, tmp_path, every_step):
    folder = RunDir(tmp_path / "run")

    with pytest.raises(KeyboardInterrupt):
        pipeline.run(QUICK, folder, context=replace(context, on_progress=_interrupt))
    folder.append_history(seconds=1000.0, step="train")
    assert pipeline.run(QUICK, folder, context=context)["seconds"] > 1000


def test_run_is_not_resumed_with_changed_images(whole, result, context, tmp_path, every_step, monkeypatch):
    load = session.load

    def fewer(*args, **kwargs):
        data = load(*args, **kwargs)
        return replace(data, train=data.train[1:])

    folder = RunDir(tmp_path / "run")
    with pytest.raises(KeyboardInterrupt):
        pipeline.run(QUICK, folder, context=replace(context, on_progress=_interrupt))
    monkeypatch.setattr(session, "load", fewer)
    with pytest.raises(UserError, match=r"have changed since .* was started"):
        pipeline.run(QUICK, folder, context=context)
    recipe = replace(QUICK, start=str(whole.path), select=Select(), prune=Prune(params="0.5"))
    with pytest.raises(UserError, match=r"have changed since .* was started"):
        pipeline.run(recipe, RunDir(tmp_path / "other"), context=context)
    assert not (tmp_path / "other").exists()


def test_run_starts_from_the_pruned_network_of_another_run(whole, result, context, tmp_path):
    recipe = replace(QUICK, train=Train(weights=str(whole.path), batch_size=16))
    again = pipeline.run(recipe, RunDir(tmp_path / "run"), context=context)
    assert (again["model"], again["options"]) == (result["model"], result["options"])
    assert again["params"] == result["params"]


@pytest.mark.parametrize(("flip", "mirror"), [(True, True), (False, False), (None, False)])
def test_predictions_mirror_images_where_training_does(context, tmp_path, flip, mirror):
    recipe = replace(QUICK, train=replace(QUICK.train, flip=flip))
    pipeline.run(recipe, RunDir(tmp_path / "run"), context=context)
    assert Model.load(tmp_path / "run" / "train").preprocessing.mirror is mirror


def test_all_images_are_used_without_a_selection(context, tmp_path):
    recipe = replace(QUICK, select=Select())
    result = pipeline.run(recipe, RunDir(tmp_path / "run"), context=context)
    assert (result["examples"], result["select"], result["before_pruning"]) == (300, None, None)
    assert not (tmp_path / "run" / "select").exists()


def test_finished_run_can_be_pruned_without_retraining(whole, result, context, tmp_path):
    recipe = replace(QUICK, start=str(whole.path), epochs=3, select=Select(), prune=Prune(params="0.5"))
    again = pipeline.run(recipe, RunDir(tmp_path / "run"), context=context)
    assert again["params"] <= 0.5 * result["params"]
    assert not (tmp_path / "run" / "train").exists()


def test_selection_alone(context, tmp_path):
    folder = RunDir(tmp_path / "run")
    recipe = replace(QUICK, select=Select("random", 50))
    result = pipeline.select_only(recipe, folder, context=context)
    assert result["examples"] == 50
    assert sum(result["per_class"].values()) == 50
    assert result["subset"] == str(folder / "select" / "subset.json")
    assert len(Subset.load(folder / "select" / "subset.json")) == 50
    assert pipeline.select_only(recipe, folder, context=context) == json.loads(json.dumps(result))
