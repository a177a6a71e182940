from __future__ import annotations

import json

import pytest

from shoestring.errors import UserError
from shoestring.runs.directory import RunDir


def test_run_with_a_result_is_done(tmp_path):
    folder = RunDir(tmp_path / "run")
    recipe = {"seed": 0, "train": {"model": "auto"}}
    assert not folder.done(recipe)
    with folder.begin(recipe, "seed: 0\n"):
        folder.update(other=1)
    assert (folder / "recipe.yaml").read_text() == "seed: 0\n"
    assert not folder.done(recipe)
    folder.update(result={"accuracy": 1.0})
    assert folder.done(recipe)
    assert folder.run == {"recipe": recipe, "other": 1, "result": {"accuracy": 1.0}}


def test_different_recipe_is_refused_with_the_differences(tmp_path):
    folder = RunDir(tmp_path)
    folder.update(recipe={"seed": 0, "train": {"model": "auto", "width": 1.0}})
    with pytest.raises(UserError, match=r"seed is 0 there and 1 here, train\.width is 1\.0 there and None here"):
        folder.done({"seed": 1, "train": {"model": "auto"}})


def test_new_folder_is_removed_after_a_user_error(tmp_path):
    new, old = RunDir(tmp_path / "new"), RunDir(tmp_path / "old")
    old.path.mkdir()
    for folder in (new, old):
        with pytest.raises(UserError), folder.begin({}, ""):
            raise UserError("no")
    assert not new.path.exists()
    assert old.path.exists()
    with pytest.raises(KeyboardInterrupt), new.begin({}, ""):
        raise KeyboardInterrupt
    assert new.path.exists()


@pytest.mark.parametrize("name", ["train/state.pt", "train/snapshot/1/model.json", "prune/snapshot/2/model.json"])
def test_folder_with_a_model_is_never_removed(tmp_path, name):
    folder = RunDir(tmp_path / "new")
    with pytest.raises(UserError), folder.begin({}, ""):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
        raise UserError("training diverged")
    assert (folder / name).exists()


def test_folder_that_cannot_be_created_is_a_user_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"), RunDir(tmp_path / "file" / "run").begin({}, ""):
        pass


def test_two_runs_do_not_share_a_folder(tmp_path):
    one, other = RunDir(tmp_path / "run"), RunDir(tmp_path / "run")
    with one.begin({"seed": 0}, ""):
        with pytest.raises(UserError, match="is in use by another process"), other.begin({"seed": 1}, ""):
            pass
        assert one.run == {"recipe": {"seed": 0}}
    with other.begin({"seed": 0}, ""):
        pass


def test_history_ignores_a_truncated_line(tmp_path):
    folder = RunDir(tmp_path)
    assert folder.history() == []
    assert folder.spent() == (0.0, {})
    folder.append_history(seconds=1.5, step="train")
    folder.append_history(seconds=2.5, step="train")
    with (tmp_path / "history.jsonl").open("a") as file:
        file.write(json.dumps({"seconds": 9.0})[:-3])
    folder.update(recipe={}, ledger={"load": 1.0})
    assert [row["seconds"] for row in folder.history()] == [1.5, 2.5]
    assert folder.spent() == (2.5, {"load": 1.0})


def test_once_computes_a_value_only_once(tmp_path):
    folder, calls = RunDir(tmp_path), []

    def compute() -> str:
        calls.append(1)
        return "value"

    for _ in range(2):
        assert (
            folder.load_or_make("a.txt", compute, lambda value, file: file.write_text(value), lambda f: f.read_text())
            == "value"
        )
    assert len(calls) == 1
