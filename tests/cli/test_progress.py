from __future__ import annotations

import re
import time

import pytest

from shoestring.budget import Budget
from shoestring.cli.main import main
from shoestring.cli.progress import Progress
from shoestring.runs.session import of_whole

PHASES = ["loading PyTorch", "loading digits", "measuring speed", "selecting", "training a proxy"]
PHASES += ["choosing the network", "training convnet", "evaluating before pruning", "pruning", "training the pruned"]
PHASES += ["evaluating on", "baseline"]


def percents(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\] +(\d+) %", text)]


def test_a_run_names_each_phase_as_it_begins_and_its_progress_never_falls(capsys, tmp_path) -> None:
    words = ("run", "digits", "--examples", "300", "--select", "forgetting", "--macs", "0.5", "--baseline")
    words = (*words, "--epochs", "24", "--model", "convnet", "--width", "0.125", "--threads", "1")
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    told = capsys.readouterr().err
    lines = told.splitlines()
    found = [next(i for i, line in enumerate(lines) if line.startswith(phase)) for phase in PHASES]
    assert found == sorted(found)
    shown = percents(told)
    assert shown == sorted(shown) and len(set(shown)) > 5 and shown[-1] > 80


def test_what_a_step_takes_back_is_not_shown(capsys) -> None:
    progress = Progress(quiet=False)
    for fraction in (0.0, 0.55, 0.2, 0.4, 0.61, 0.3, 1.0):
        progress.update("train", fraction, {})
    assert percents(capsys.readouterr().err) == [0, 55, 61, 100]
    progress.update("evaluate", 0.1, {"run": 0.5})
    assert percents(capsys.readouterr().err) == [100]


def test_of_a_time_budget_the_fraction_is_that_of_the_clock() -> None:
    told = []
    budget = Budget(100.0, started=time.monotonic() - 30.0)
    of_whole(lambda *heard: told.append(heard), budget)("train", 0.1, {"loss": 1.0})
    [(name, fraction, values)] = told
    assert (name, fraction, values["loss"]) == ("train", 0.1, 1.0)
    assert 0.3 <= values["run"] < 0.9 and values["left"] == pytest.approx(100 * (1 - values["run"]), abs=1.0)


def test_names_are_harmless(capsys) -> None:
    progress = Progress(quiet=False)
    progress.log("left out: \x1b]0;title\x07 [red]x[/]")
    assert capsys.readouterr().err == "left out: \\x1b]0;title\\x07 [red]x[/]\n"


def test_quiet_says_nothing(capsys) -> None:
    progress = Progress(quiet=True)
    progress.log("a note")
    progress.update("train", 0.5, {"loss": 1.0})
    assert capsys.readouterr().err == ""
