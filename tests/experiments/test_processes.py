from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest

import shoestring
from shoestring.config.recipe import Recipe
from shoestring.errors import BudgetTooSmall, UserError
from shoestring.experiments import processes as module
from shoestring.experiments import run as run_module
from shoestring.experiments.processes import Processes, choose_jobs
from shoestring.runs.directory import RunDir


@pytest.mark.parametrize(
    ("requested", "device", "runs", "expected"),
    [(3, "cpu", 20, 3), (3, "cpu", 2, 2), (None, "cpu", 20, 4), (None, "cuda", 20, 1), (None, "auto", 20, 1)],
)
def test_number_of_runs_at_a_time(monkeypatch, requested, device, runs, expected):
    monkeypatch.setattr(module, "cores", lambda: 8)
    monkeypatch.setattr(module, "_accelerated", lambda: True)
    assert choose_jobs(requested, device, runs) == expected


def test_runs_in_processes(data, tmp_path, monkeypatch):
    """One experiment as users run it: two processes at a time, which divide the cores among them."""
    monkeypatch.setattr(run_module, "cores", lambda: 2)
    messages: list[str] = []
    settings = {"epochs": 1, "device": "cpu", "train": {"model": "simplecnn", "width": 0.125, "batch_size": 4}}
    result = shoestring.sweep(data, out=tmp_path / "out", seeds=2, jobs=2, log=messages.append, **settings)
    assert len(result["rows"][0]["runs"]) == 2 and messages[0] == "2 runs, 2 at a time"
    assert "simplecnn" in (tmp_path / "out" / "logs" / "001-seed-0.txt").read_text()
    for name in result["rows"][0]["runs"]:
        assert RunDir(tmp_path / "out" / "trials" / name).run["surroundings"]["threads"] == 1


@pytest.mark.parametrize(
    ("text", "code", "kind", "message"),
    [
        ("loading\nerror: no such data.\n", 2, UserError, "no such data."),
        ("error: --time 1s is too small: no. The least that works is --time 8s.", 3, BudgetTooSmall, "too small"),
        ("Traceback", 1, UserError, "ended with exit code 1"),
        ("", -9, UserError, "ended with exit code -9"),
        ("", 130, KeyboardInterrupt, None),
    ],
)
def test_the_message_of_a_run_is_its_error(tmp_path, text, code, kind, message):
    pool = Processes(tmp_path, 1, 1)
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "a.txt").write_text(text)
    with pytest.raises(kind, match=message) as error:
        raise pool.error("a", code)
    if kind is BudgetTooSmall:
        assert error.value.least == 8  # type: ignore[attr-defined]


@pytest.mark.parametrize(("recipe", "threads"), [(Recipe(), "3"), (Recipe(threads=5), "5")])
def test_threads_of_a_run(tmp_path, monkeypatch, recipe, threads):
    script = tmp_path / "threads.py"
    script.write_text("import os\nprint(os.environ['OMP_NUM_THREADS'], os.environ['MKL_NUM_THREADS'])\n")
    monkeypatch.setattr(sys, "executable", str(wrapper(tmp_path, script)))
    with Processes(tmp_path, 1, 3) as pool:
        pool.start("a", recipe)
        while not (finished := pool.finished()):
            time.sleep(0.02)
    assert finished == {"a": 0} and (tmp_path / "logs" / "a.txt").read_text() == f"{threads} {threads}\n"


def test_runs_that_do_not_end_are_killed(tmp_path, monkeypatch):
    script = tmp_path / "deaf.py"
    script.write_text(
        "import signal, time, pathlib, sys\nsignal.signal(signal.SIGINT, signal.SIG_IGN)\n"
        f"pathlib.Path({str(tmp_path / 'up')!r}).touch()\ntime.sleep(60)\n"
    )
    monkeypatch.setattr(sys, "executable", str(wrapper(tmp_path, script)))
    with Processes(tmp_path, 1, 1) as pool:
        pool.start("a", Recipe())
        assert not pool.free and pool.finished() == {}
        while not (tmp_path / "up").exists():
            time.sleep(0.02)
        [process] = pool._running.values()
        pool.interrupt(0.2)
    assert process.returncode == -9 and pool.free


def wrapper(folder: Path, script: Path) -> Path:
    """A program that ignores its arguments and runs the script."""
    program = folder / "python"
    program.write_text(f"#!/bin/sh\nexec {os.path.realpath(sys.executable)} {script}\n")
    program.chmod(0o755)
    return program
