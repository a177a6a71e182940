from __future__ import annotations

import time
from dataclasses import replace

import pytest

from shoestring.config.recipe import Prune, Recipe, Select, Train
from shoestring.config.units import Size
from shoestring.errors import BudgetTooSmall, UserError
from shoestring.runs import pipeline, session
from shoestring.runs.directory import RunDir

NETWORK = Train(model="convnet", width=0.125, batch_size=16)
QUICK = Recipe(epochs=2, select=Select("random", 100), train=NETWORK, device="cpu")


pytestmark = pytest.mark.usefixtures("few_digits")


def test_folder_of_a_selection_is_refused_by_a_run(context, tmp_path):
    folder = RunDir(tmp_path / "run")
    pipeline.select_only(QUICK, folder, context=context)
    with pytest.raises(UserError, match="only is select there"):
        pipeline.run(QUICK, folder, context=context)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"time": "5m"}, "set one budget, not --time and --epochs"),
        ({"select": Select("randm", 10)}, "Did you mean 'random'"),
        ({"select": Select("random", 10, options={"x": 1})}, "has no options"),
        ({"select": Select("random", 10_000)}, "there are 300 training images"),
        ({"train": Train(model="convnett")}, "Did you mean 'convnet'"),
        ({"prune": Prune(macs="0.00001"), "epochs": 8}, "cannot be reached"),
        ({"select": Select(subset="none.json")}, r"no subset file .*none\.json"),
        ({"select": Select(), "baseline": True}, "set its size with --examples"),
    ],
)
def test_user_errors_leave_no_folder_behind(context, tmp_path, changes, message):
    with pytest.raises(UserError, match=message):
        pipeline.run(replace(QUICK, **changes), RunDir(tmp_path / "run"), context=context)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "options",
    [
        {"select": Select(options={"exampels": 5})},
        {"prune": Prune("magnitude", Size.parse("0.5", what="--macs"), options={"mcas": 1})},
    ],
)
def test_misspelled_setting_is_an_error(context, tmp_path, options):
    with pytest.raises(UserError, match=r"Did you mean 'examples'|has no option 'mcas'"):
        pipeline.run(replace(QUICK, **{"select": Select(), **options}), RunDir(tmp_path / "run"), context=context)


def test_budget_too_small_leaves_no_folder_behind(context, tmp_path):
    with pytest.raises(BudgetTooSmall, match=r"--epochs 0\.1 is too small"):
        pipeline.run(replace(QUICK, epochs=0.1), RunDir(tmp_path / "run"), context=context)
    assert not (tmp_path / "run").exists()


def test_missed_deadline_is_a_warning_in_result_and_report(tmp_path, context, monkeypatch):
    assert pipeline.run(QUICK, RunDir(tmp_path / "counted"), context=context)["late_seconds"] == 0
    monkeypatch.setattr(session.Run, "lateness", 2.345)
    result = pipeline.run(QUICK, RunDir(tmp_path / "late"), context=context)
    assert result["late_seconds"] == 2.35
    assert any("was missed by 2.35 s" in warning for warning in result["warnings"])
    assert "was missed by 2.35 s" in (tmp_path / "late" / "report" / "report.md").read_text()


def test_lateness_is_measured_by_the_clock(tmp_path, context):
    timed = replace(QUICK, epochs=None, time="60s")
    run = session.begin(timed, RunDir(tmp_path), context=context, started=time.monotonic() - 62.0)
    assert 2.0 < run.lateness < 10.0
    assert session.begin(QUICK, RunDir(tmp_path), context=context, started=time.monotonic() - 62.0).lateness < 0
