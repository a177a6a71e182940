from __future__ import annotations

import errno
import json
import os

import pytest

from shoestring.errors import UserError
from shoestring.runs.directory import RunDir
from shoestring.runtime.files import atomic_write, read_json, write_json


def test_replacing_takes_the_place_only_when_the_block_ends_well(tmp_path):
    file = tmp_path / "new" / "file.txt"
    with atomic_write(file) as temporary:
        temporary.write_text("one")
        assert not file.exists()
    with pytest.raises(KeyboardInterrupt), atomic_write(file) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert file.read_text() == "one"
    assert list(file.parent.iterdir()) == [file]
    assert file.stat().st_mode & 0o777 == 0o644


def test_json_comes_back(tmp_path):
    write_json(tmp_path / "a.json", {"ä": [1, None]})
    assert read_json(tmp_path / "a.json") == {"ä": [1, None]}


def test_missing_and_broken_json_is_named(tmp_path):
    with pytest.raises(UserError, match="no file"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"a\.json is not JSON"):
        read_json(tmp_path / "a.json")


def test_a_run_is_done_when_its_result_is_there(tmp_path):
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


def test_another_recipe_is_refused_with_what_differs(tmp_path):
    folder = RunDir(tmp_path)
    folder.update(recipe={"seed": 0, "train": {"model": "auto", "width": 1.0}})
    with pytest.raises(UserError, match=r"seed is 0 there and 1 here, train\.width is 1\.0 there and None here"):
        folder.done({"seed": 1, "train": {"model": "auto"}})


def test_a_folder_made_here_goes_again_when_the_user_erred(tmp_path):
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
def test_a_folder_with_a_model_stays_whatever_went_wrong(tmp_path, name):
    folder = RunDir(tmp_path / "new")
    with pytest.raises(UserError), folder.begin({}, ""):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
        raise UserError("training diverged")
    assert (folder / name).exists()


def test_a_full_disk_is_told_with_the_file(tmp_path):
    with pytest.raises(OSError, match="No space") as caught, atomic_write(tmp_path / "file"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(tmp_path / "file")


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write to"), RunDir(tmp_path / "file" / "run").begin({}, ""):
        pass


def test_two_runs_do_not_share_a_folder(tmp_path):
    one, other = RunDir(tmp_path / "run"), RunDir(tmp_path / "run")
    with one.begin({"seed": 0}, ""):
        with pytest.raises(UserError, match="another process is at work"), other.begin({"seed": 1}, ""):
            pass
        assert one.run == {"recipe": {"seed": 0}}
    with other.begin({"seed": 0}, ""):
        pass


def test_history_leaves_out_a_line_cut_off(tmp_path):
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


def test_once_makes_a_thing_only_once(tmp_path):
    folder, made = RunDir(tmp_path), []

    def make() -> str:
        made.append(1)
        return "thing"

    for _ in range(2):
        assert (
            folder.load_or_make("a.txt", make, lambda value, file: file.write_text(value), lambda f: f.read_text())
            == "thing"
        )
    assert len(made) == 1
