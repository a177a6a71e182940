from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from shoestring.cli.main import main
from shoestring.config.recipe import Recipe, Train
from shoestring.config.serialize import as_dict
from shoestring.runtime.files import write_json
from shoestring.training.snapshots import newest

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
NET = ("--model", "simplecnn", "--width", "0.25")


def command(out: Path, *words: str) -> list[str]:
    return ["run", "digits", "--threads", "1", *NET, *words, "--out", str(out), "--quiet", "--json"]


@pytest.mark.parametrize("number, code", [("SIGTERM", 130), ("SIGKILL", -9)])
def test_killed_run_resumes(capsys, tmp_path: Path, number: str, code: int) -> None:
    out = tmp_path / "run"
    words = command(out, "--epochs", "150")
    process = subprocess.Popen([sys.executable, "-m", "shoestring", *words], stderr=subprocess.PIPE, text=True)
    while not (out / "train" / "state.pt").exists():
        assert process.poll() is None, "ended before it could be interrupted"
        time.sleep(0.02)
    process.send_signal(getattr(signal, number))
    _, error = process.communicate()
    assert process.returncode == code
    assert "Traceback" not in error
    assert "result" not in json.loads((out / "run.json").read_text())
    assert main([word for word in words if word != "--quiet"]) == 0
    captured = capsys.readouterr()
    assert "resuming after" in captured.err
    assert json.loads(captured.out)["out"] == str(out)
    remaining = [file.name for file in out.rglob("*") if file.name.startswith(".") or file.name == "state.pt"]
    assert remaining == [".lock"]


def test_killed_and_terminated_runs_have_a_usable_model(capsys, tmp_path: Path) -> None:
    for number, code in (("SIGKILL", -9), ("SIGTERM", 130)):
        out = tmp_path / number
        words = command(out, "--grow", "width", "--epochs", "400")
        process = subprocess.Popen([sys.executable, "-m", "shoestring", *words], stderr=subprocess.PIPE, text=True)
        while newest(out / "train") is None:
            assert process.poll() is None, "ended before it could be interrupted"
            time.sleep(0.02)
        process.send_signal(getattr(signal, number))
        process.communicate()
        assert process.returncode == code
        assert main(["evaluate", str(out), "--json"]) == 0
        captured = capsys.readouterr()
        assert "is not finished" in captured.err
        assert json.loads(captured.out)["accuracy"] > 0.2
    files = sorted(path.name for path in (out / "train").iterdir())
    assert files in (["snapshot"], ["snapshot", "state.pt"])


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
