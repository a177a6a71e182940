from __future__ import annotations

import io
import re
import sys
import time
from types import SimpleNamespace

import pytest
from torch import nn

from shoestring.budget import Budget
from shoestring.cli.main import main
from shoestring.cli.progress import Progress
from shoestring.errors import UserError
from shoestring.runs.progress import with_run_fraction

PHASES = ["loading PyTorch", "loading digits", "selecting"]
PHASES += ["training a proxy", "training convnet", "evaluating before pruning", "pruning", "training the pruned"]
PHASES += ["evaluating on", "baseline"]


def percents(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\] +(\d+) %", text)]


def test_run_logs_each_phase_and_progress_never_decreases(capsys, tmp_path, few_digits) -> None:
    words = ("run", "digits", "--examples", "150", "--select", "forgetting", "--macs", "0.5", "--baseline")
    words = (*words, "--epochs", "24", "--model", "convnet", "--width", "0.125", "--threads", "1")
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    output = capsys.readouterr().err
    lines = output.splitlines()
    positions = [next(i for i, line in enumerate(lines) if line.startswith(phase)) for phase in PHASES]
    assert positions == sorted(positions)
    assert "measuring step times" not in lines  # the budget is not a time
    shown = percents(output)
    assert shown == sorted(shown) and len(set(shown)) > 5 and shown[-1] > 80


def test_progress_bar_waits_when_a_step_restarts(capsys) -> None:
    progress = Progress(quiet=False)
    for fraction in (0.0, 0.55, 0.2, 0.4, 0.61, 0.3, 1.0):
        progress.update("train", fraction, {})
    assert percents(capsys.readouterr().err) == [0, 55, 61, 100]
    progress.update("evaluate", 0.1, {"run": 0.5})
    assert percents(capsys.readouterr().err) == [100]


def test_progress_follows_the_clock_with_a_time_budget() -> None:
    calls = []
    budget = Budget(100.0, started=time.monotonic() - 30.0)
    with_run_fraction(lambda *args: calls.append(args), budget)("train", 0.1, {"loss": 1.0})
    [(name, fraction, values)] = calls
    assert (name, fraction, values["loss"]) == ("train", 0.1, 1.0)
    assert 0.3 <= values["run"] < 0.9 and values["left"] == pytest.approx(100 * (1 - values["run"]), abs=1.0)


def test_predict_extrapolates_from_its_rate_alone(monkeypatch, capsys) -> None:
    from shoestring.runs import models, prediction
    from shoestring.runtime import context

    def predict(*args, progress, **kwargs):
        progress(90, 100, 0.1)  # most of these were predicted by an earlier command
        raise UserError("enough")

    monkeypatch.setattr(prediction, "predict", predict)
    monkeypatch.setattr(models, "usable_model", lambda *args: SimpleNamespace(module=nn.Identity()))
    monkeypatch.setattr(context, "prepare", lambda **kwargs: SimpleNamespace(device="cpu"))
    assert main(["predict", "run", "a.png"]) == 2
    assert "90 images  0 images/s  1:40 left" in capsys.readouterr().err


def test_control_characters_are_escaped(capsys) -> None:
    progress = Progress(quiet=False)
    progress.log("left out: \x1b]0;title\x07 [red]x[/]")
    assert capsys.readouterr().err == "left out: \\x1b]0;title\\x07 [red]x[/]\n"


def test_quiet_prints_nothing(capsys) -> None:
    progress = Progress(quiet=True)
    progress.log("a note")
    progress.update("train", 0.5, {"loss": 1.0})
    assert capsys.readouterr().err == ""


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_terminal_progress_bar_shows_the_remaining_time_and_is_removed(monkeypatch) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    monkeypatch.setattr(sys, "stderr", _Terminal())
    monkeypatch.setattr("shoestring.cli.progress._REFRESH", 1e9)
    progress = Progress(quiet=False)
    progress.update("train", 0.5, {"loss": 1.25, "left": 83.0})
    frame = sys.stderr.getvalue()
    assert re.search(r"train .*━.* 50 % +loss 1\.250  1:23 left", frame)
    progress.update("train", 0.6, {"loss": 1.0})
    assert sys.stderr.getvalue() == frame, "it is redrawn at a limited rate"
    progress.log("a note")
    assert sys.stderr.getvalue().endswith("\x1b[2Ka note\n")
