from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from shoestring import budget
from shoestring.budget import Budget
from shoestring.cli.main import main
from shoestring.config.recipe import Prune, Recipe, Select, Train
from shoestring.config.units import format_seconds
from shoestring.runs import pipeline, report
from shoestring.runs.directory import RunDir
from shoestring.runs.gallery import Sources, make_gallery
from shoestring.runs.predictions_file import TestPredictions, read_predictions
from shoestring.runs.report import TimeLimit, make_parts, write_page
from shoestring.runs.report_data import collect
from shoestring.runs.report_sources import load_sources

RECIPE = Recipe(
    epochs=8,
    select=Select(method="random", examples=100),
    train=Train(model="convnet", width=0.125, batch_size=16),
    prune=Prune(macs="0.5"),
    device="cpu",
)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> RunDir:
    """A finished run on digits."""
    from shoestring.runtime.context import Context

    folder = RunDir(tmp_path_factory.mktemp("runs") / "finished")
    pipeline.run(RECIPE, folder, context=Context())
    return folder


@pytest.fixture
def copied(finished, tmp_path) -> RunDir:
    """A copy of the run that tests may change."""
    return RunDir(Path(shutil.copytree(finished.path, tmp_path / "copy")))


def test_run_writes_page_and_card(finished):
    page, card = ((finished / str(name)).read_text() for name in (report.PAGE, report.CARD))
    assert "Chosen images, beside what was left out" in page and "cosine similarity" in page and 'id="mistakes"' in page
    assert yaml.safe_load(card.split("---\n")[1])["model-index"][0]["name"] == "finished"
    assert finished.run["result"]["ledger"]["report"] == finished.run["ledger"]["report"] > 0
    assert finished.run["result"]["seconds"] >= sum(finished.run["ledger"].values()) - 0.1


def test_page_is_written_anew_with_charts(copied, charts, capsys):
    (copied / "report" / "index.html").unlink()
    assert main(["report", str(copied.path), "--quiet"]) == 0
    assert "report/index.html" in capsys.readouterr().out
    page = (copied / "report" / "index.html").read_text()
    for name in ("classes", "reliability", "budget", "validation", "layers", "latencies", "changes"):
        assert f'id="chart-{name}-' in page
    assert "lack of time" not in page and "similarity" in page and "Grad-CAM" in page


def test_page_without_the_images_says_why(copied):
    content = copied.run
    copied.update(data={**content["data"], "fingerprint": "other"})
    sources, missing = load_sources(copied, progress=lambda done, total: None)
    assert sources is None and "have changed since" in missing
    parts = make_parts(copied, content["result"], sources, TimeLimit(), missing=missing)
    assert parts is not None
    write_page(copied, parts)
    page = (copied / "report" / "index.html").read_text()
    assert "No pictures are shown" in page and "<img" not in page


def test_without_time_there_is_no_page_and_a_log_line_says_how_to_get_it(tmp_path, context, few_digits, monkeypatch):
    notes: list[str] = []
    monkeypatch.setattr(TimeLimit, "allows_page", False)
    pipeline.run(replace(RECIPE, prune=Prune()), RunDir(tmp_path / "run"), context=replace(context, log=notes.append))
    assert not (tmp_path / "run" / "report" / "index.html").exists()
    assert (tmp_path / "run" / "report" / "report.md").exists()
    assert any(f"`shoestring report {tmp_path / 'run'}` writes it" in note for note in notes)


def test_page_and_results_name_the_same_time(finished):
    result = finished.run["result"]
    page, text = ((finished / "report" / name).read_text() for name in ("index.html", "report.md"))
    assert f"<strong>{format_seconds(result['seconds'])}</strong>" in page
    assert format_seconds(result["seconds"]) in text


class Clock:
    """The time of a report: of the wall clock, and of a processor that has it to half."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(budget, "_monotonic", lambda: self.now)
        monkeypatch.setattr(report.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(report.time, "process_time", lambda: self.now / 2)
        monkeypatch.delitem(sys.modules, "matplotlib.figure", raising=False)
        monkeypatch.setattr(report, "warm_up", lambda: None)


def _limit(seconds: float, slowdown: float) -> tuple[TimeLimit, Budget]:
    """A limit with so many seconds left besides those for the exit, which are one on an idle machine."""
    paid = Budget(seconds + slowdown, started=0.0)
    paid.slowdown = slowdown
    paid.reserve("exit", 1.0)
    paid.reserve("report", 2.0)
    return TimeLimit(paid), paid


def test_charts_are_drawn_while_those_before_were_fast_enough(charts_in_time, monkeypatch):
    clock = Clock(monkeypatch)
    limit, paid = _limit(6.0, slowdown=2.0)
    assert limit.left() == pytest.approx(6.0 - 2 * report._PAGE_SECONDS)
    assert limit.allows_page
    drawn = 0
    while limit.allows_chart():
        clock.now += 0.5
        drawn += 1
    assert paid.total - clock.now - 2.0 < 2 * 0.75 + 2 * report._PAGE_SECONDS, "another one might be late"
    assert limit.left() > 0, "there is time for the page, and the chart of the time"
    assert drawn == 8 and limit.allows_page


def test_a_machine_that_is_less_busy_than_in_training_needs_less_time_to_exit(charts_in_time, monkeypatch):
    clock = Clock(monkeypatch)
    limit, paid = _limit(9.0, slowdown=3.0)
    assert limit.allows_chart()
    clock.now += 1.0
    assert limit.allows_chart() and paid.slowdown == 2.0
    assert limit.left() == pytest.approx(12.0 - 1.0 - 2.0 - 2 * report._PAGE_SECONDS - 1.5)


def test_without_time_there_is_no_chart_and_no_page(charts_in_time, monkeypatch):
    Clock(monkeypatch)
    assert not _limit(3.0, slowdown=2.0)[0].allows_chart()
    assert _limit(3.0, slowdown=1.0)[0].allows_chart()
    assert not _limit(0.5, slowdown=2.0)[0].allows_page
    unlimited = TimeLimit(Budget(epochs=1))
    assert unlimited.allows_page and unlimited.allows_chart() and unlimited.left() == float("inf")


def test_report_with_baseline_compares_with_random_images(tmp_path, context, few_digits):
    folder = RunDir(tmp_path / "run")
    recipe = replace(RECIPE, select=Select("forgetting", 100), prune=Prune(), baseline=True)
    pipeline.run(recipe, folder, context=context)
    page = (folder / "report" / "index.html").read_text()
    assert (
        "As many random images reach" in page and "points (95" in page and "p_value" in folder.run["result"]["baseline"]
    )
    assert (folder / "baseline" / "report" / "index.html").exists()


def test_values_of_a_run(finished):
    result = finished.run["result"]
    classes = tuple(result["per_class"])
    predictions = read_predictions(finished.path, classes)
    assert predictions is not None and predictions.correct.mean() == pytest.approx(result["accuracy"])
    run = collect(
        finished, result, make_gallery(*_sources(finished), left=lambda: 99.0, seconds_per_pass=1e-4), predictions
    )
    assert sum(images for *_, images in run.cells) == result["images"]
    assert sum(part["images"] for part in run.reliability) == result["images"]
    assert all(after <= before for before, after in run.layers.values())
    assert any(after < before for before, after in run.layers.values())
    assert list(run.layer_costs) == list(run.layers) != sorted(run.layers)
    for name, (before, after) in run.layer_costs.items():
        assert (before["channels"], after["channels"]) == tuple(run.layers[name])
    assert sum(after["macs"] for _, after in run.layer_costs.values()) == result["macs"]
    assert run.comparison is not None and run.comparison["images"] == result["validation_images"]
    assert run.validation[1][-1] == pytest.approx(result["validation"], abs=1e-5)
    for name, (low, high) in run.intervals.items():
        assert low <= result["per_class"][name]["recall"] <= high


def _sources(folder: RunDir) -> tuple[Sources, TestPredictions | None]:
    sources, _ = load_sources(folder, progress=lambda done, total: None)
    assert sources is not None
    return sources, read_predictions(folder.path, sources.test.classes)


def test_corrupted_predictions_are_a_one_line_error(copied, capsys):
    (copied / "evaluate" / "predictions.csv").write_text("id,class,predicted,confidence\na,b,c,d\n")
    assert main(["report", str(copied.path), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "predictions.csv is corrupted" in error and error.count("\n") == 1
