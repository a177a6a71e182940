"""Damaged, foreign and removed run folders: a one-line error, and nothing that looks like a result."""

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
def finished(tmp_path_factory):
    return tmp_path_factory.mktemp("runs") / "finished"


@pytest.fixture
def run(finished, context, tmp_path):
    """A copy of a finished run."""
    if not finished.exists():
        pipeline.run(RECIPE, RunDir(finished), context=context)
    shutil.copytree(finished, tmp_path / "run")
    return RunDir(tmp_path / "run")


@pytest.fixture
def interrupted(context, tmp_path, every_step):
    """A run interrupted in training, with a checkpoint to resume from."""
    folder = RunDir(tmp_path / "cut")
    _interrupt_run(folder, context)
    assert (folder / "train" / "state.pt").exists()
    return folder


def _interrupt_run(folder, context, action=lambda: (_ for _ in ()).throw(KeyboardInterrupt)) -> None:
    seen = []

    def on_progress(name, *_):
        seen.append(name)
        if seen.count("train") == 5:
            action()

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


def test_damaged_history_lines_are_ignored(interrupted, context):
    with (interrupted / "history.jsonl").open("a") as file:
        file.write('{"seconds": "long"}\n{"seconds": NaN}\n[1]\n{"seconds": -1}\n{"seconds": 1e999}\n' + "[" * 100_000)
    assert interrupted.spent()[0] < 1e6
    assert "accuracy" in pipeline.run(RECIPE, interrupted, context=context)


def test_line_after_a_truncated_one_is_not_lost(tmp_path):
    folder = RunDir(tmp_path)
    (tmp_path / "history.jsonl").write_text('{"seconds": 1.0}\n{"seco')
    folder.append_history(seconds=2.0)
    assert [row["seconds"] for row in folder.history()] == [1.0, 2.0]


def _checkpoint(content: object) -> bytes:
    """Return a checkpoint file with a valid checksum."""
    buffer = io.BytesIO()
    torch.save(content, buffer)
    digest = hashlib.blake2b(buffer.getvalue(), digest_size=16).hexdigest()
    return f"shoestring state {checkpoint._FORMAT} {digest}\n".encode() + buffer.getvalue()


class _Code:
    """Fails the test when unpickled."""

    def __reduce__(self):
        return pytest.fail, ("unpickling ran code",)


CHECKPOINTS = {
    "empty": lambda good: b"",
    "cut off": lambda good: good[: len(good) // 2],
    "one bit flipped": lambda good: good[:3000] + bytes([good[3000] ^ 1]) + good[3001:],
    "extra byte": lambda good: good + b"x",
    "old format": lambda good: good.partition(b"\n")[2],
    "newer format": lambda good: b"shoestring state 99 0\n" + good.partition(b"\n")[2],
    "code": lambda good: _checkpoint(_Code()),
    "a list": lambda good: _checkpoint([1]),
    "other keys": lambda good: _checkpoint({"steps": 3}),
}


@pytest.mark.parametrize("damage", CHECKPOINTS.values(), ids=CHECKPOINTS.keys())
def test_damaged_checkpoint_error_names_the_file_to_remove(interrupted, context, damage):
    file = interrupted / "train" / "state.pt"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(UserError, match=r"state\.pt .*Remove it to start the step from scratch") as caught:
        pipeline.run(RECIPE, interrupted, context=context)
    assert "\n" not in str(caught.value)
    file.unlink()
    assert "accuracy" in pipeline.run(RECIPE, interrupted, context=context)


def test_checkpoint_of_another_network_is_refused(interrupted, context):
    file = interrupted / "train" / "state.pt"
    saved = torch.load(io.BytesIO(file.read_bytes().partition(b"\n")[2]), weights_only=True)
    name = next(iter(saved["module"]))
    for changed in ({"module": {**saved["module"], name: torch.zeros(3)}}, {"counts": (1,)}, {"batches": {"size": 8}}):
        file.write_bytes(_checkpoint({**saved, **changed}))
        with pytest.raises(UserError, match=r"state\.pt does not fit this training"):
            pipeline.run(RECIPE, interrupted, context=context)


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


@pytest.mark.parametrize("new", [False, True])
def test_folder_removed_during_training_is_not_recreated(tmp_path, context, every_step, new):
    folder = RunDir(tmp_path / "run")

    def remove() -> None:
        shutil.rmtree(folder.path)
        if new:
            folder.path.mkdir()
            (folder / "note.txt").write_text("mine")

    with pytest.raises(UserError, match="was removed or replaced while a run was at work in it"):
        _interrupt_run(folder, context, remove)
    remaining = [file.name for file in folder.path.rglob("*")] if folder.path.exists() else []
    assert remaining == (["note.txt"] if new else [])


@pytest.mark.parametrize(
    "function", [(stages, "_save_description"), (pipeline, "write_report"), (stages, "measure_cost")]
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


def test_folder_locked_by_another_process_is_not_changed(interrupted, context):
    before = {file: file.read_bytes() for file in interrupted.path.rglob("*") if file.is_file()}
    with lock_folder(interrupted.path), pytest.raises(UserError, match="another process is at work"):
        pipeline.run(RECIPE, interrupted, context=context)
    assert {file: file.read_bytes() for file in interrupted.path.rglob("*") if file.is_file()} == before


def test_folder_removed_while_locking_is_recreated(tmp_path, monkeypatch):
    """The folder is removed just after its lock was acquired."""
    acquire, calls = FileLock.acquire, []

    def acquire_and_remove(self, *args, **kwargs):
        lock = acquire(self, *args, **kwargs)
        if not calls:
            shutil.rmtree(tmp_path / "run")
        calls.append(1)
        return lock

    monkeypatch.setattr(FileLock, "acquire", acquire_and_remove)
    with lock_folder(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()
        with pytest.raises(UserError, match="another process"), lock_folder(tmp_path / "run"):
            pass


def test_partial_files_of_killed_processes_are_removed(interrupted, context):
    for name in (".run.json.abc.partial", "train/.state.pt.abc.partial", ".mine"):
        (interrupted / name).write_text("half")
    pipeline.run(RECIPE, interrupted, context=context)
    assert sorted(file.name for file in interrupted.path.rglob(".*")) == [".lock", ".mine"]


def test_folder_with_only_a_partial_file_is_reused(tmp_path, context):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / ".run.json.abc.partial").write_text("half")
    assert "accuracy" in pipeline.run(RECIPE, RunDir(tmp_path / "run"), context=context)


def test_file_and_folder_are_flushed_around_a_rename(tmp_path, monkeypatch):
    calls: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(
        os, "fsync", lambda handle: calls.append("folder" if S_ISDIR(os.fstat(handle).st_mode) else "file")
    )
    monkeypatch.setattr(Path, "replace", lambda self, other: (calls.append("rename"), replace(self, other)))
    write_json(tmp_path / "a.json", 1)
    assert calls == ["file", "rename", "folder"]


def test_full_disk_keeps_the_previous_file(tmp_path, monkeypatch):
    write_json(tmp_path / "a.json", 1)
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(OSError, match="No space") as caught:
        write_json(tmp_path / "a.json", 2)
    assert caught.value.filename == str(tmp_path / "a.json")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.json", "1\n")]


def test_file_with_a_255_byte_name_can_be_replaced(tmp_path):
    for name in ("x" * 255, "ü" * 127):
        with atomic_write(tmp_path / name) as temporary:
            temporary.write_text("one")
        assert (tmp_path / name).read_text() == "one"
