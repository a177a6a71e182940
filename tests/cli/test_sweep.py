from __future__ import annotations

import json
from pathlib import Path

import pytest

from shoestring.cli.main import main
from shoestring.config.recipe import SweepRecipe
from shoestring.config.serialize import as_dict
from shoestring.errors import UserError
from shoestring.experiments import settings
from shoestring.experiments.outcome import Outcome
from shoestring.experiments.schedule import Schedule
from shoestring.experiments.search import make_search
from shoestring.experiments.summary import summarize


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sweep", "digits", "--over", "train.learning_rat=0.1"], "Did you mean 'train.learning_rate'"),
        (["sweep", "digits", "--over", "train.width=wide"], "train.width must be a number"),
        (["sweep", "digits", "--over", "train.width"], "names no values"),
        (["sweep", "digits"], "nothing is varied: add --over"),
        (["sweep", "--over", "train.width=1,2"], "the argument RECIPE or DATA is missing"),
        (["sweep", "digits", "--over", "train.width=1..2"], "add --search random or tpe"),
        (["sweep", "digits", "--over", "train.width=1,2", "--folds", "3", "--seeds", "2"], "omit --seeds"),
        (["sweep", "digits", "--over", "train.width=1,2", "--serach", "tpe"], "Did you mean --search"),
        (["sweep", "nowhere.yaml", "--over", "train.width=1,2"], "cannot read recipe"),
        (["run", "digits", "--seeds", "0"], "--seeds must be at least 1"),
        (["run", "digits", "--folds", "1"], "--folds must be at least 2"),
        (["run", "digits", "--seeds", "2", "--plan"], "--plan is for one run"),
        (["train", "digits", "--seeds", "2", "--log", "tensorboard"], "--log is for one run"),
        (["run", "digits", "--jobs", "2"], "there is one"),
        (["run", "digits", "--fold", "6/5"], "is not a fold"),
        (["run", "digits", "--group", "("], "is not a regular expression"),
        (["train", "digits", "--seeds", "2", "--epochs", "1", "--flops", "1e12"], "one budget"),
    ],
)
def test_bad_input_is_one_line(refused, words, message):
    assert message in refused(*words)


def test_dry_run_shows_what_is_varied(capsys, tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("data: digits\nepochs: 3\nsweep: {over: {train.width: [0.5, 1]}, seeds: 2}\n")
    words = ["sweep", str(file), "--over", "train.dropout=0,0.1", "--dry-run", "--json"]
    assert main(words) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["sweep.over"] == {"value": {"train.dropout": ["0", "0.1"]}, "from": "flags"}
    assert values["sweep.seeds"]["from"] == str(file) and values["data"]["value"] == "digits"


def test_what_is_varied_is_checked_once(monkeypatch, refused):
    models: list[str] = []
    monkeypatch.setattr(settings, "check", lambda recipe: models.append(recipe.train.model))
    monkeypatch.setattr("shoestring.experiments.run.check_run_folder", refuse)
    assert "enough" in refused("sweep", "digits", "--over", "train.model=convnet,conv2")
    assert models == ["convnet", "conv2"]


def refuse(recipe, out):
    raise UserError("enough.")


def test_the_section_sweep_is_not_for_selections(refused, tmp_path):
    file = tmp_path / "recipe.yaml"
    file.write_text("data: digits\nselect: {examples: 9}\nsweep: {seeds: 2}\n")
    assert "a selection is one run" in refused("select", "--recipe", file)


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """The folder of a finished experiment."""
    from shoestring.config.layers import merge

    layer = {"data": "digits", "sweep": {"over": {"train.width": [1, 2], "train.norm": [True, False]}, "seeds": 2}}
    layer["sweep"]["against"] = "macs"
    recipe, _ = merge(("file", layer))
    assert isinstance(recipe, SweepRecipe)
    schedule = Schedule(recipe, make_search(recipe))
    while (trial := schedule.next()) is not None:
        width = schedule.settings[trial.setting]["train.width"]
        value = 0.4 + 0.1 * width + 0.01 * trial.seed * trial.setting
        costs = {"macs": 100 * width, "params": 5, "latency_ms": 1.0, "seconds": 2.0}
        schedule.record(trial, Outcome(value, (value - 0.1, value + 0.1), 100, 50, costs))
    result = summarize(recipe, schedule, tmp_path)
    result |= {"test": {"accuracy": 0.6, "interval": [0.5, 0.7], "images": 9, "runs": {}}, "out_of_fold": None}
    result |= {"data": "digits", "time": 60.0, "out": str(tmp_path / "out"), "seconds": 55.0}
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "experiment.json").write_text(json.dumps({"recipe": as_dict(recipe), "result": result}))
    return tmp_path / "out"


def test_report_of_an_experiment(finished, capsys):
    assert main(["report", str(finished)]) == 0
    text = capsys.readouterr().out
    assert "test accuracy 60.0 %" in text and "What mattered" in (finished / "report" / "report.md").read_text()
    page = (finished / "report" / "index.html").read_text()
    for chart in ("settings", "importance", "effect-0", "effect-1", "pareto"):
        assert f'id="chart-{chart}-' in page
    assert main(["report", str(finished), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["chosen"] == "width=2 norm=False"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "is corrupted"),
        ('{"recipe": {}}', "is not a finished experiment"),
        ('{"recipe": {}, "result": []}', "'result' is not"),
        ('{"recipe": {}, "result": {"rows": 3}}', "of another version"),
        ("{", "is not JSON"),
    ],
)
def test_damaged_experiment_is_one_line(refused, tmp_path, text, message):
    (tmp_path / "experiment.json").write_text(text)
    assert message in refused("report", tmp_path)
