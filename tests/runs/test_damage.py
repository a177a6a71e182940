"""Damaged, foreign and removed run folders: a one-line error, and nothing that looks like a result."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from shoestring.cli.main import main
from shoestring.config.recipe import Recipe, Select, Train
from shoestring.errors import UserError
from shoestring.runs import pipeline, steps
from shoestring.runs.directory import RunDir
from shoestring.selection import Subset

NETWORK = Train(model="simplecnn", width=0.25, batch_size=8)
RECIPE = Recipe(epochs=1, select=Select("random", 100), train=NETWORK, device="cpu")

pytestmark = pytest.mark.usefixtures("few_digits")


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "finished"


@pytest.fixture
def run(finished, context, tmp_path):
    """A copy of a finished run."""
    if not finished.exists():
        pipeline.run(RECIPE, RunDir(finished), context=context)
    shutil.copytree(finished, tmp_path / "run")
    return RunDir(tmp_path / "run")


DAMAGED = {
    "empty": "",
    "no JSON": "{",
    "no text": b"\xff\xfe",
    "a list": "[1]",
    "a number": "7",
    "deep": "[" * 100_000,
    "long": "1" * 5000,
    "foreign": '{"name": "mine"}',
    "recipe is a list": {"recipe": [1]},
    "section is a list": {"recipe": {"select": [1]}},
    "result is a list": {"result": [1]},
    "data is text": {"data": "digits"},
    "data without a name": {"data": {"fingerprint": "0"}},
    "ledger of text": {"ledger": {"train": "long"}},
    "counted is infinite": {"counted": float("inf")},
    "counted is text": {"counted": "1"},
    "views is a number": {"views": 2},
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_damaged_run_json_error_names_the_file_and_the_fix(run, context, content):
    file = run / "run.json"
    if isinstance(content, dict):
        content = json.dumps({**json.loads(file.read_text()), **content})
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"run\.json .*--out, or remove") as caught:
        pipeline.run(RECIPE, run, context=context)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"accuracy": "high"}, {"per_class": []}, {"budget": 3}, {"interval": [0.5]}])
def test_damaged_result_is_a_one_line_error(run, capsys, change):
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**content, "result": {**content["result"], **change}}))
    assert main(["report", str(run.path)]) == 2
    error = capsys.readouterr().err
    assert "run.json" in error and error.count("\n") == 1


def test_line_after_a_truncated_one_is_not_lost(tmp_path):
    folder = RunDir(tmp_path)
    (tmp_path / "history.jsonl").write_text('{"seconds": 1.0}\n{"seco')
    folder.append_history(seconds=2.0)
    assert [row["seconds"] for row in folder.history()] == [1.0, 2.0]


@pytest.mark.parametrize(
    "content",
    [
        *("", "[1, 2", "[" * 100_000),
        {"indices": [0.5, 1]},
        {"indices": [True, 1]},
        {"ids": "abc"},
        {"kept": "1"},
        {"seed": None},
        {"never_held_out": [1.5]},
        {"never_held_out": [2**70]},
        {"newer": 1},
    ],
)
def test_damaged_subset_is_a_one_line_error(run, tmp_path, content):
    file = run / "select" / "subset.json"
    if isinstance(content, dict):
        content = json.dumps({**json.loads(file.read_text()), **content})
    file.write_text(content)
    with pytest.raises(UserError, match=r"subset\.json") as caught:
        Subset.load(file)
    assert "\n" not in str(caught.value)


def test_circular_subset_references_are_a_one_line_error(run, tmp_path, context):
    (run / "select" / "subset.json").unlink()
    content = json.loads((run / "run.json").read_text())
    content["recipe"]["select"] = {"subset": str(run.path)}
    (run / "run.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="no subset file"):
        pipeline.run(replace(RECIPE, select=Select(subset=str(run.path))), RunDir(tmp_path / "new"), context=context)


@pytest.mark.parametrize("verb", ["evaluate", "prune"])
def test_run_of_a_newer_version_is_a_one_line_error(run, capsys, verb):
    content = json.loads((run / "run.json").read_text())
    content["recipe"]["train"]["sharpness"] = 0.1
    content["surroundings"]["shoestring"] = "99.0"
    content["something"] = "new"
    (run / "run.json").write_text(json.dumps(content))
    words = ["--params", "0.5"] if verb == "prune" else []
    assert main([verb, str(run.path), *words, "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "99.0" in error and "train.sharpness" in error and error.count("\n") == 1


def test_different_recipe_of_another_version_names_the_version(run, context):
    content = json.loads((run / "run.json").read_text())
    del content["recipe"]["train"]["ema"]
    content["surroundings"]["shoestring"] = "0.0.1"
    (run / "run.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"ema is None there and True here\) of shoestring 0\.0\.1"):
        pipeline.run(RECIPE, run, context=context)


@pytest.mark.parametrize(
    "function", [(steps, "_save_description"), (pipeline, "write_report"), (steps, "measure_cost")]
)
def test_folder_removed_after_training_has_no_run_json(tmp_path, context, monkeypatch, function):
    module, name = function
    original, folder = getattr(module, name), RunDir(tmp_path / "run")

    def remove(*args, **kwargs):
        shutil.rmtree(folder.path, ignore_errors=True)
        return original(*args, **kwargs)

    monkeypatch.setattr(module, name, remove)
    with pytest.raises(UserError, match="was removed or replaced"):
        pipeline.run(RECIPE, folder, context=context)
    assert not (folder / "run.json").exists()


def test_result_without_a_recipe_is_refused(run):
    (run / "run.json").write_text(json.dumps({"result": {"accuracy": 1.0}}))
    with pytest.raises(UserError, match="it has no recipe"):
        run.done({"seed": 0})


def test_folder_with_only_a_partial_file_is_reused(tmp_path, context):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.json.abc.partial").write_text("half")
    assert "accuracy" in pipeline.run(RECIPE, RunDir(tmp_path / "run"), context=context)
