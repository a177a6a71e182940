"""Experiments whose runs fail, are interrupted, or do not fit into the time."""

from __future__ import annotations

import numpy as np
import pytest

import shoestring
from shoestring.errors import BudgetTooSmall, UserError
from shoestring.experiments.clock import Clock
from shoestring.experiments.experiment import Experiment

SMALL = {"epochs": 2, "device": "cpu", "train": {"model": "simplecnn", "width": 0.125, "batch_size": 8}}


def test_a_failing_combination_does_not_stop_the_others(in_process, data, tmp_path):
    over = {"train.weights": ["none", str(tmp_path / "missing.safetensors")]}
    result = shoestring.sweep(data, out=tmp_path / "out", over=over, **SMALL)
    failed = result["rows"][1]
    assert (
        failed["accuracy"] is None and "missing.safetensors" in failed["error"] and result["chosen"] == "weights=none"
    )


@pytest.mark.parametrize("varied", [{"over": {"train.dropout": [0, 0.1]}}, {"seeds": 2}, {"folds": 2}])
@pytest.mark.parametrize("more", [{}, {"labels": "labels.csv"}])
def test_nothing_starts_without_data(in_process, tmp_path, varied, more):
    with pytest.raises(UserError, match="nowhere") as error:
        shoestring.sweep(str(tmp_path / "nowhere"), out=tmp_path / "out", **varied, **more, **SMALL)
    assert in_process == [] and "\n" not in str(error.value) and not (tmp_path / "out" / "experiment.json").exists()


@pytest.mark.parametrize(("jobs", "started"), [(1, 2), (3, 3)])
def test_an_error_of_the_first_runs_that_all_would_have_ends_the_experiment(in_process, tmp_path, jobs, started):
    np.savez(tmp_path / "data.npz", images=np.zeros((9, 8, 8), np.uint8), labels=np.zeros(9, np.int64))
    over = {"train.dropout": [0, 0.1, 0.2, 0.3, 0.4, 0.5]}
    with pytest.raises(UserError, match="class") as error:
        shoestring.sweep(tmp_path / "data.npz", out=tmp_path / "out", over=over, jobs=jobs, **SMALL)
    assert len(in_process) == started and "\n" not in str(error.value)
    assert not (tmp_path / "out" / "experiment.json").exists()


def test_an_error_that_a_value_may_cause_does_not_stop_runs_with_others(in_process, data, tmp_path):
    over = {"train.weights": [str(tmp_path / "missing.safetensors"), "none"], "train.dropout": [0, 0.1]}
    result = shoestring.sweep(data, out=tmp_path / "out", over=over, jobs=1, **SMALL)
    assert len(in_process) == 4 and result["chosen"].startswith("weights=none")


def test_different_errors_of_the_first_runs_do_not_stop_the_others(in_process, data, tmp_path):
    over = {"train.weights": [str(tmp_path / "missing.safetensors"), str(tmp_path / "other.safetensors"), "none"]}
    result = shoestring.sweep(data, out=tmp_path / "out", over=over, jobs=1, **SMALL)
    assert len(in_process) == 3 and result["chosen"] == "weights=none"


def test_an_interrupted_experiment_is_resumed(in_process, data, tmp_path, monkeypatch):
    out, settings = tmp_path / "out", {"over": {"train.dropout": [0, 0.1, 0.2]}, "jobs": 1, **SMALL}
    finish = Experiment._finish

    def interrupted(self, trial, outcome):
        if trial.name.startswith("002"):
            raise KeyboardInterrupt
        finish(self, trial, outcome)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Experiment, "_finish", interrupted)
        shoestring.sweep(data, out=out, **settings)
    assert in_process == ["001-seed-0", "002-seed-0"]
    result = shoestring.sweep(data, out=out, **settings)
    assert in_process == ["001-seed-0", "002-seed-0", "003-seed-0"] and len(result["rows"]) == 3
    with pytest.raises(UserError, match="another experiment"):
        shoestring.sweep(data, out=out, **{**settings, "epochs": 3})


def test_errors_of_runs_without_varied_settings_end_the_experiment(in_process, data, tmp_path, arguments):
    with pytest.raises(UserError, match="class '0' has 30 images, fewer than the 31 folds: use folds=30"):
        shoestring.sweep(data, out=tmp_path / "out", folds=31, jobs=1, **SMALL)
    assert len(in_process) == 1


def test_too_little_time_names_what_is_needed(in_process, data, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(Clock, "unit", lambda self, waves: 0.05)
        with pytest.raises(BudgetTooSmall, match=r"--time 9s leaves 0.1 s for each of 2 runs, 1 at a time") as error:
            shoestring.sweep(data, out=tmp_path / "out", seeds=2, time="9s", jobs=1, device="cpu")
    assert error.value.least > 9 and not (tmp_path / "out" / "experiment.json").exists()
    with pytest.raises(BudgetTooSmall, match="none is finished"):
        shoestring.sweep(data, out=tmp_path / "other", seeds=9, time="0.1s", jobs=1)


def test_runs_that_do_not_fit_into_the_time_are_left_out(in_process, data, tmp_path, monkeypatch):
    monkeypatch.setattr(Experiment, "_expected", lambda self, length: 0.0 if not self.schedule.outcomes else 1e9)
    over = {"train.dropout": [0, 0.1, 0.2]}
    result = shoestring.sweep(data, out=tmp_path / "out", over=over, time="1h", jobs=1, **SMALL)
    assert len(in_process) == 1 and result["left_out"] == 2
    assert "2 runs were left out" in (tmp_path / "out" / "report" / "report.md").read_text()


@pytest.mark.parametrize("settings", [{}, {"seeds": 1}])
def test_one_run_is_no_experiment(data, tmp_path, settings):
    with pytest.raises(UserError, match="nothing is varied"):
        shoestring.sweep(data, out=tmp_path / "out", **settings)


def test_a_folder_with_other_content_is_refused(data, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "notes.txt").write_text("mine")
    with pytest.raises(UserError, match="neither empty nor the folder of an experiment"):
        shoestring.sweep(data, out=tmp_path / "out", seeds=2)
