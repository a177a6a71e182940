"""Closed streams, streams without a reader, signals during imports, and output without a terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from shoestring.cli.show import grid

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
SHOESTRING = f"'{sys.executable}' -m shoestring"
TRAIN = "train digits --epochs 2 --model simplecnn --width 0.1 --threads 1"


def shell(command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["bash", "-c", f"set -o pipefail; {command}"], capture_output=True, text=True)


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&-", "<&- >&- 2>&-"])
@pytest.mark.parametrize("words, code", [("list grow", 0), ("report nowhere", 2)])
def test_streams_may_be_closed(closed: str, words: str, code: int) -> None:
    ran = shell(f"{SHOESTRING} {words} {closed}")
    assert ran.returncode == code
    assert "Traceback" not in ran.stderr and "Exception" not in ran.stderr


def test_messages_are_not_written_to_files_when_streams_are_closed(tmp_path: Path) -> None:
    ran = shell(f"{SHOESTRING} {TRAIN} --out {tmp_path}/run <&- >&- 2>&-")
    assert ran.returncode == 0
    assert "result" in json.loads((tmp_path / "run" / "run.json").read_text())


def test_run_continues_when_nobody_reads_its_progress(tmp_path: Path) -> None:
    ran = shell(f"{SHOESTRING} {TRAIN} --out {tmp_path}/run 2>&1 | head -1")
    assert ran.returncode == 0 and ran.stdout.count("\n") == 1
    assert "result" in json.loads((tmp_path / "run" / "run.json").read_text())


@pytest.mark.parametrize("words", ["list", "--help", "list select --json"])
def test_closed_pipe_is_not_an_error(words: str) -> None:
    ran = shell(f"{SHOESTRING} {words} | true")
    assert (ran.returncode, ran.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_unwritable_output_is_a_one_line_error(tmp_path: Path) -> None:
    for words in ("list", "--help", "list select --json"):
        ran = shell(f"{SHOESTRING} {words} > /dev/full")
        assert ran.returncode == 2
        assert ran.stderr.startswith("error: ") and ran.stderr.count("\n") == 1


SIGNALLED = """
import os, runpy, signal, sys

module, number = sys.argv[1:3]
signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore SIGINT

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            os.kill(os.getpid(), signal.Signals[number])

sys.meta_path.insert(0, Finder())
sys.argv = ["shoestring", *sys.argv[3:]]
runpy.run_module("shoestring", run_name="__main__", alter_sys=True)
"""


@pytest.mark.parametrize(
    "module, number",
    [
        ("shoestring.cli.main", "SIGINT"),
        ("shoestring.config.recipe", "SIGTERM"),
        ("shoestring.runs.pipeline", "SIGINT"),
        ("torch", "SIGINT"),
    ],
)
def test_interrupt_during_imports_is_silent(tmp_path: Path, module: str, number: str) -> None:
    words = [*TRAIN.split(), "--out", str(tmp_path / "run"), "--quiet"]
    ran = subprocess.run([sys.executable, "-c", SIGNALLED, module, number, *words], capture_output=True, text=True)
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")
    assert not (tmp_path / "run").exists()


def test_tables_are_not_truncated_without_a_terminal(capsys) -> None:
    names = ["a" * 300, "[red]b[/]", ":cat:", "c\x1b[2J"]
    grid(("class", "images"), [[name, "5"] for name in names])
    out = capsys.readouterr().out
    assert all(name in out for name in names[:3])
    assert "\x1b" not in out and "c\\x1b[2J" in out
    assert sum("5" in line for line in out.splitlines()) == len(names)
