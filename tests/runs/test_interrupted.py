from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
from dataclasses import replace

import pytest
import torch

from shoestring.config.recipe import Recipe, Select, Train
from shoestring.errors import UserError
from shoestring.runs import pipeline
from shoestring.runs.directory import RunDir
from shoestring.runtime.files import lock_folder
from shoestring.training import checkpoint

NETWORK = Train(model="simplecnn", width=0.25, batch_size=8)
RECIPE = Recipe(epochs=1, select=Select("random", 100), train=NETWORK, device="cpu")

pytestmark = pytest.mark.usefixtures("few_digits")


@pytest.fixture
def interrupted(context, tmp_path, every_step):
    """A run interrupted in training, with a checkpoint to resume from."""
    folder = RunDir(tmp_path / "interrupted")
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


def test_damaged_history_lines_are_ignored(interrupted, context):
    with (interrupted / "history.jsonl").open("a") as file:
        file.write('{"seconds": "long"}\n{"seconds": NaN}\n[1]\n{"seconds": -1}\n{"seconds": 1e999}\n' + "[" * 100_000)
    assert interrupted.spent()[0] < 1e6
    assert "accuracy" in pipeline.run(RECIPE, interrupted, context=context)


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


@pytest.mark.parametrize("new", [False, True])
def test_folder_removed_during_training_is_not_recreated(tmp_path, context, every_step, new):
    folder = RunDir(tmp_path / "run")

    def remove() -> None:
        shutil.rmtree(folder.path)
        if new:
            folder.path.mkdir()
            (folder / "note.txt").write_text("mine")

    with pytest.raises(UserError, match="was removed or replaced during the run"):
        _interrupt_run(folder, context, remove)
    remaining = [file.name for file in folder.path.rglob("*")] if folder.path.exists() else []
    assert remaining == (["note.txt"] if new else [])


def test_folder_locked_by_another_process_is_not_changed(interrupted, context):
    before = {file: file.read_bytes() for file in interrupted.path.rglob("*") if file.is_file()}
    with lock_folder(interrupted.path), pytest.raises(UserError, match="is in use by another process"):
        pipeline.run(RECIPE, interrupted, context=context)
    assert {file: file.read_bytes() for file in interrupted.path.rglob("*") if file.is_file()} == before


def test_partial_files_of_killed_processes_are_removed(interrupted, context):
    for name in (".run.json.abc.partial", "train/.state.pt.abc.partial", ".mine"):
        (interrupted / name).write_text("half")
    pipeline.run(RECIPE, interrupted, context=context)
    assert sorted(file.name for file in interrupted.path.rglob(".*")) == [".lock", ".mine"]
