from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from shoestring.cli.main import main
from shoestring.config.recipe import Recipe, Train
from shoestring.config.serialize import as_dict
from shoestring.runtime.files import write_json

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
NET = ("--model", "simplecnn", "--width", "0.25")


def command(out: Path, *words: str) -> list[str]:
    return ["run", "digits", "--threads", "1", *NET, *words, "--out", str(out), "--quiet", "--json"]


STOPPED = """
import os, runpy, signal, sys
from shoestring.runtime import signals
from shoestring.training.checkpoint import Checkpoint

saves, save = [], Checkpoint.save

def save_and_stop(checkpoint, state):
    save(checkpoint, state)
    saves.append(state["counted"])
    if len(saves) == 20:  # of a hundred
        os.kill(os.getpid(), number)

signals.GRACE_SECONDS = 0.2
Checkpoint.due, Checkpoint.save = (lambda checkpoint: checkpoint.file is not None), save_and_stop
number = signal.Signals[sys.argv.pop(1)]
runpy.run_module("shoestring", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize("number, code", [("SIGTERM", 130), ("SIGKILL", -9)])
def test_killed_run_has_a_usable_model_and_resumes(capsys, tmp_path: Path, number: str, code: int) -> None:
    out = tmp_path / "run"
    words = command(out, "--grow", "width", "--epochs", "60")
    process = subprocess.run([sys.executable, "-c", STOPPED, number, *words], stderr=subprocess.PIPE, text=True)
    assert process.returncode == code and "Traceback" not in process.stderr
    assert "result" not in json.loads((out / "run.json").read_text())
    assert sorted(path.name for path in (out / "train").iterdir()) == ["snapshot", "state.pt"]
    assert main(["evaluate", str(out), "--json"]) == 0
    captured = capsys.readouterr()
    assert "is not finished" in captured.err
    assert json.loads(captured.out)["accuracy"] > 0.2
    assert main([word for word in words if word != "--quiet"]) == 0
    captured = capsys.readouterr()
    assert "resuming after" in captured.err
    assert json.loads(captured.out)["out"] == str(out)
    remaining = [file.name for file in out.rglob("*") if file.name.startswith(".") or file.name == "state.pt"]
    assert remaining == [".lock"]


def test_seconds_spent_before_an_interruption_are_counted(capsys, tmp_path: Path) -> None:
    out = tmp_path / "run"
    recipe = Recipe(time="3591s", threads=1, train=Train("simplecnn", 0.25))
    write_json(out / "run.json", {"recipe": as_dict(recipe)})
    (out / "history.jsonl").write_text(
        json.dumps({"seconds": 3590.0, "step": "train", "fraction": 0.9}) + "\nhalf a li"
    )
    assert main(command(out, "--time", "3591s")) == 3
    assert "--time 3591s is too small" in capsys.readouterr().err


def test_epochs_spent_before_an_interruption_are_counted(tmp_path: Path) -> None:
    whole, interrupted = tmp_path / "whole", tmp_path / "interrupted"
    assert main(command(whole, "--epochs", "8", "--macs", "0.5")) == 0
    shutil.copytree(whole, interrupted)
    notes = json.loads((interrupted / "run.json").read_text())
    rows = [json.loads(line) for line in (whole / "history.jsonl").read_text().splitlines()]
    notes["counted"] = next(row["epoch"] for row in reversed(rows) if row["step"] == "train" and "epoch" in row)
    assert 0 < notes["counted"] < 8
    for name in ("result", "recovery", "before_pruning"):
        del notes[name]
    (interrupted / "run.json").write_text(json.dumps(notes))
    shutil.rmtree(interrupted / "prune")
    assert main(command(interrupted, "--epochs", "8", "--macs", "0.5")) == 0
    assert json.loads((interrupted / "run.json").read_text())["recovery"]["steps"] == pytest.approx(
        json.loads((whole / "run.json").read_text())["recovery"]["steps"], abs=1
    )
