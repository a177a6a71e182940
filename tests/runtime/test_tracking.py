from __future__ import annotations

from pathlib import Path

import pytest

from shoestring.cli.main import main
from shoestring.errors import UserError
from shoestring.runtime import extras, tracking
from shoestring.runtime.tracking import Tracker


@pytest.fixture
def logged(monkeypatch) -> list:
    """Log to a list instead of TensorBoard."""
    rows: list = []
    opened = (lambda step, values: rows.append((step, dict(values))), lambda: rows.append("closed"))
    monkeypatch.setattr(tracking, "check_tracker", lambda name: None)
    monkeypatch.setattr(tracking, "_OPEN", {"tensorboard": lambda folder: opened})
    return rows


def test_values_are_logged_once_a_second_under_the_name_of_their_step(logged, tmp_path):
    (tmp_path / "run.json").write_text("{}")
    with Tracker("tensorboard", tmp_path) as tracker:
        for seconds, loss in ((1.2, 3.0), (1.7, 2.5), (2.1, 2.0)):
            tracker.on_progress("train", 0.5, {"loss": loss, "run": 0.1, "left": 9.0, "seconds": seconds})
        tracker.on_progress("train", 0.5, {"validation": 0.5, "seconds": 2.2})
        tracker.on_progress("train", 0.5, {"loss": 1.0, "seconds": 3.0, "baseline": True})
        tracker.on_progress("load", 0.5, {"images": 5, "seconds": 4.0})
        tracker.log_results({"accuracy": 0.75, "seconds": 5.5, "model": "convnet", "done": True})
    assert logged == [
        (1, {"train/loss": 3.0}),
        (2, {"train/loss": 2.0}),
        (2, {"train/validation": 0.5}),
        (3, {"baseline/train/loss": 1.0}),
        (5, {"result/accuracy": 0.75, "result/seconds": 5.5}),
        "closed",
    ]


def test_nothing_is_opened_before_the_run_has_started(logged, tmp_path):
    with Tracker("tensorboard", tmp_path) as tracker:
        tracker.on_progress("train", 0.5, {"loss": 1.0})
    assert logged == []


def test_runs_log_to_the_tracker(logged, tmp_path, every_step, few_digits):
    words = ["train", "digits", "--model", "convnet", "--width", "0.125", "--epochs", "1", "--batch-size", "16"]
    assert main([*words, "--quiet", "--out", str(tmp_path / "run"), "--log", "tensorboard"]) == 0
    names = {name for row in logged[:-1] for name in row[1]}
    assert {"train/loss", "train/epoch", "result/accuracy"} <= names and logged[-1] == "closed"


def test_a_tracker_that_fails_is_given_up_and_the_run_goes_on(logged, tmp_path, monkeypatch):
    def fail(folder):
        raise ConnectionError("no server\nat all")

    monkeypatch.setattr(tracking, "_OPEN", {"tensorboard": fail})
    notes: list[str] = []
    (tmp_path / "run.json").write_text("{}")
    with Tracker("tensorboard", tmp_path, note=notes.append) as tracker:
        for step in range(3):
            tracker.log(step, {"loss": 1.0})
    assert notes == ["nothing more is logged to tensorboard: no server at all"]


def test_missing_packages_and_unknown_trackers_are_one_line(monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(extras, "is_installed", lambda module: False)
    with pytest.raises(UserError, match=r'pip install "shoestring\[mlflow\]"'):
        Tracker("mlflow", tmp_path)
    assert main(["train", "digits", "--log", "tensorbord", "--out", str(tmp_path / "run")]) == 2
    error = capsys.readouterr().err
    assert "Did you mean 'tensorboard'" in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_tensorboard_event_files(tmp_path):
    pytest.importorskip("tensorboard")
    (tmp_path / "run.json").write_text("{}")
    with Tracker("tensorboard", tmp_path) as tracker:
        tracker.on_progress("train", 0.5, {"loss": 1.0, "seconds": 1.0})
    assert [file.stat().st_size > 0 for file in (tmp_path / "tensorboard").iterdir()] == [True]


def test_mlflow_runs(tmp_path: Path, monkeypatch):
    mlflow = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="set MLFLOW_TRACKING_URI"):
        Tracker("mlflow", tmp_path)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    folder = tmp_path / "first"
    folder.mkdir()
    (folder / "run.json").write_text("{}")
    with Tracker("mlflow", folder) as tracker:
        tracker.on_progress("train", 0.5, {"loss": 1.5, "seconds": 1.0})
    [run] = mlflow.search_runs(output_format="list")
    assert run.info.run_name == "first" and run.data.metrics == {"train/loss": 1.5}
