"""Run folders that were damaged, filled by others, or removed: one line, and nothing that passes for a result."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from stat import S_ISDIR

import pytest
import torch
from filelock import FileLock

from shoestring.cli.main import main
from shoestring.config.recipe import Recipe, Select, Train
from shoestring.errors import UserError
from shoestring.runs import pipeline, stages
from shoestring.runs.directory import RunDir
from shoestring.runtime.files import atomic_write, lock_folder, write_json
from shoestring.selection import Subset
from shoestring.training import checkpoint

RECIPE = Recipe(
    epochs=1,
    select=Select("random", 100),
    train=Train(model="simplecnn", width=0.25, batch_size=8),
    device="cpu",
)

pytestmark = pytest.mark.usefixtures("few_digits")


@pytest.fixture(scope="module")
def _whole(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "whole"


@pytest.fixture
def run(_whole, context, tmp_path):
    """A copy of a finished run."""
    if not _whole.exists():
        pipeline.run(RECIPE, RunDir(_whole), context=context)
    shutil.copytree(_whole, tmp_path / "run")
    return RunDir(tmp_path / "run")


@pytest.fixture
def cut(context, tmp_path, every_step):
    """A run that was interrupted in its training, with a state to go on from."""
    folder = RunDir(tmp_path / "cut")
    _interrupted(folder, context)
    assert (folder / "train" / "state.pt").exists()
    return folder


def _interrupted(folder, context, what=lambda: (_ for _ in ()).throw(KeyboardInterrupt)) -> None:
    seen = []

    def on_progress(name, *_):
        seen.append(name)
        if seen.count("train") == 5:
            what()

    with contextlib.suppress(KeyboardInterrupt):
        pipeline.run(RECIPE, folder, context=replace(context, on_progress=on_progress))


DAMAGED = {
    "empty": "",
    "no JSON": "{",
    "no text": b"\xff\xfe",
    "a list": "[1]",
    "a number": "7",
    "deep": "[" * 100_000,
    "long": "1" * 5000,
    "of others": '{"name": "mine"}',
    "recipe a list": {"recipe": [1]},
    "section a list": {"recipe": {"select": [1]}},
    "result a list": {"result": [1]},
    "data a text": {"data": "digits"},
    "data without a name": {"data": {"fingerprint": "0"}},
    "ledger of text": {"ledger": {"train": "long"}},
    "counted endless": {"counted": float("inf")},
    "counted text": {"counted": "1"},
    "views a number": {"views": 2},
}


@pytest.mark.parametrize("content", DAMAGED.values(), ids=DAMAGED.keys())
def test_a_damaged_run_json_names_the_file_and_what_to_do(run, context, content):
    file = run / "run.json"
    if isinstance(content, dict):
        content = json.dumps({**json.loads(file.read_text()), **content})
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=r"run\.json .*--out, or remove") as caught:
        pipeline.run(RECIPE, run, context=context)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", [{"accuracy": "high"}, {"per_class": []}, {"budget": 3}, {"interval": [0.5]}])
def test_damaged_results_are_one_line(run, capsys, change):
    content = json.loads((run / "run.json").read_text())
    (run / "run.json").write_text(json.dumps({**content, "result": {**content["result"], **change}}))
    assert main(["report", str(run.path)]) == 2
    said = capsys.readouterr().err
    assert "run.json" in said and said.count("\n") == 1


def test_a_damaged_history_is_passed_over(cut, context):
    with (cut / "history.jsonl").open("a") as file:
        file.write('{"seconds": "long"}\n{"seconds": NaN}\n[1]\n{"seconds": -1}\n{"seconds": 1e999}\n' + "[" * 100_000)
    assert cut.spent()[0] < 1e6
    assert "accuracy" in pipeline.run(RECIPE, cut, context=context)


def test_a_line_after_one_that_was_cut_off_is_not_lost(tmp_path):
    folder = RunDir(tmp_path)
    (tmp_path / "history.jsonl").write_text('{"seconds": 1.0}\n{"seco')
    folder.append_history(seconds=2.0)
    assert [row["seconds"] for row in folder.history()] == [1.0, 2.0]


def _packed(content: object) -> bytes:
    """A state file whose checksum is right."""
    packed = io.BytesIO()
    torch.save(content, packed)
    digest = hashlib.blake2b(packed.getvalue(), digest_size=16).hexdigest()
    return f"shoestring state {checkpoint._FORMAT} {digest}\n".encode() + packed.getvalue()


class _Code:
    """Runs when it is unpickled."""

    def __reduce__(self):
        return pytest.fail, ("code was run",)


STATES = {
    "empty": lambda good: b"",
    "cut off": lambda good: good[: len(good) // 2],
    "one bit": lambda good: good[:3000] + bytes([good[3000] ^ 1]) + good[3001:],
    "more": lambda good: good + b"x",
    "of before": lambda good: good.partition(b"\n")[2],
    "of later": lambda good: b"shoestring state 99 0\n" + good.partition(b"\n")[2],
    "code": lambda good: _packed(_Code()),
    "a list": lambda good: _packed([1]),
    "other keys": lambda good: _packed({"steps": 3}),
}


@pytest.mark.parametrize("spoil", STATES.values(), ids=STATES.keys())
def test_a_damaged_state_names_the_file_to_remove(cut, context, spoil):
    file = cut / "train" / "state.pt"
    file.write_bytes(spoil(file.read_bytes()))
    with pytest.raises(UserError, match=r"state\.pt .*Remove it to start the step from scratch") as caught:
        pipeline.run(RECIPE, cut, context=context)
    assert "\n" not in str(caught.value)
    file.unlink()
    assert "accuracy" in pipeline.run(RECIPE, cut, context=context)


def test_the_state_of_another_network_is_refused(cut, context):
    file = cut / "train" / "state.pt"
    saved = torch.load(io.BytesIO(file.read_bytes().partition(b"\n")[2]), weights_only=True)
    name = next(iter(saved["module"]))
    for changed in ({"module": {**saved["module"], name: torch.zeros(3)}}, {"counts": (1,)}, {"batches": {"size": 8}}):
        file.write_bytes(_packed({**saved, **changed}))
        with pytest.raises(UserError, match=r"state\.pt does not fit this training"):
            pipeline.run(RECIPE, cut, context=context)


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
def test_a_damaged_subset_is_one_line(run, tmp_path, content):
    file = run / "select" / "subset.json"
    if isinstance(content, dict):
        content = json.dumps({**json.loads(file.read_text()), **content})
    file.write_text(content)
    with pytest.raises(UserError, match=r"subset\.json") as caught:
        Subset.load(file)
    assert "\n" not in str(caught.value)


def test_runs_that_name_each_other_as_their_subset_end_in_one_line(run, tmp_path, context):
    (run / "select" / "subset.json").unlink()
    content = json.loads((run / "run.json").read_text())
    content["recipe"]["select"] = {"subset": str(run.path)}
    (run / "run.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match="no subset file"):
        pipeline.run(replace(RECIPE, select=Select(subset=str(run.path))), RunDir(tmp_path / "new"), context=context)


@pytest.mark.parametrize("verb", ["evaluate", "prune"])
def test_a_run_of_a_newer_version_is_named(run, capsys, verb):
    content = json.loads((run / "run.json").read_text())
    content["recipe"]["train"]["sharpness"] = 0.1
    content["surroundings"]["shoestring"] = "99.0"
    content["something"] = "new"
    (run / "run.json").write_text(json.dumps(content))
    words = ["--params", "0.5"] if verb == "prune" else []
    assert main([verb, str(run.path), *words, "--quiet"]) == 2
    said = capsys.readouterr().err
    assert "99.0" in said and "train.sharpness" in said and said.count("\n") == 1


def test_another_recipe_of_another_version_is_named(run, context):
    content = json.loads((run / "run.json").read_text())
    del content["recipe"]["train"]["ema"]
    content["surroundings"]["shoestring"] = "0.0.1"
    (run / "run.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"ema is None there and True here\) of shoestring 0\.0\.1"):
        pipeline.run(RECIPE, run, context=context)


@pytest.mark.parametrize("new", [False, True])
def test_a_folder_that_vanishes_leaves_nothing_that_passes_for_a_run(tmp_path, context, every_step, new):
    folder = RunDir(tmp_path / "run")

    def vanish() -> None:
        shutil.rmtree(folder.path)
        if new:
            folder.path.mkdir()
            (folder / "note.txt").write_text("mine")

    with pytest.raises(UserError, match="was removed or replaced during the run"):
        _interrupted(folder, context, vanish)
    left = [file.name for file in folder.path.rglob("*")] if folder.path.exists() else []
    assert left == (["note.txt"] if new else [])


@pytest.mark.parametrize("where", [(stages, "_save_description"), (pipeline, "write_report"), (stages, "measure_cost")])
def test_a_folder_that_vanishes_late_leaves_nothing_either(tmp_path, context, monkeypatch, where):
    place, name = where
    work, folder = getattr(place, name), RunDir(tmp_path / "run")

    def vanish(*args, **kwargs):
        shutil.rmtree(folder.path, ignore_errors=True)
        return work(*args, **kwargs)

    monkeypatch.setattr(place, name, vanish)
    with pytest.raises(UserError, match="was removed or replaced"):
        pipeline.run(RECIPE, folder, context=context)
    assert not (folder / "run.json").exists()


def test_a_result_without_a_recipe_is_of_no_run(run):
    (run / "run.json").write_text(json.dumps({"result": {"accuracy": 1.0}}))
    with pytest.raises(UserError, match="it has no recipe"):
        run.done({"seed": 0})


def test_a_folder_held_by_another_process_is_left_alone(cut, context):
    before = {file: file.read_bytes() for file in cut.path.rglob("*") if file.is_file()}
    with lock_folder(cut.path), pytest.raises(UserError, match="another process is at work"):
        pipeline.run(RECIPE, cut, context=context)
    assert {file: file.read_bytes() for file in cut.path.rglob("*") if file.is_file()} == before


def test_a_folder_that_the_other_process_removed_is_made_anew(tmp_path, monkeypatch):
    """The lock is had in the moment in which the folder is removed."""
    acquire, calls = FileLock.acquire, []

    def late(self, *args, **kwargs):
        held = acquire(self, *args, **kwargs)
        if not calls:
            shutil.rmtree(tmp_path / "run")
        calls.append(1)
        return held

    monkeypatch.setattr(FileLock, "acquire", late)
    with lock_folder(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()
        with pytest.raises(UserError, match="another process"), lock_folder(tmp_path / "run"):
            pass


def test_what_killed_processes_were_writing_is_swept(cut, context):
    for name in (".run.json.abc.partial", "train/.state.pt.abc.partial", ".mine"):
        (cut / name).write_text("half")
    pipeline.run(RECIPE, cut, context=context)
    assert sorted(file.name for file in cut.path.rglob(".*")) == [".lock", ".mine"]


def test_what_is_left_of_a_process_killed_at_its_first_write_is_taken_up(tmp_path, context):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.json.abc.partial").write_text("half")
    assert "accuracy" in pipeline.run(RECIPE, RunDir(tmp_path / "run"), context=context)


def test_files_and_folders_are_flushed_around_a_rename(tmp_path, monkeypatch):
    done: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(
        os, "fsync", lambda handle: done.append("folder" if S_ISDIR(os.fstat(handle).st_mode) else "file")
    )
    monkeypatch.setattr(Path, "replace", lambda self, other: (done.append("rename"), replace(self, other)))
    write_json(tmp_path / "a.json", 1)
    assert done == ["file", "rename", "folder"]


def test_a_full_disk_leaves_the_file_of_before(tmp_path, monkeypatch):
    write_json(tmp_path / "a.json", 1)
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(OSError, match="No space") as caught:
        write_json(tmp_path / "a.json", 2)
    assert caught.value.filename == str(tmp_path / "a.json")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.json", "1\n")]


def test_a_name_of_255_bytes_can_be_replaced(tmp_path):
    for name in ("x" * 255, "ü" * 127):
        with atomic_write(tmp_path / name) as temporary:
            temporary.write_text("one")
        assert (tmp_path / name).read_text() == "one"
