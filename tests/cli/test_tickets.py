from __future__ import annotations

import csv
import json

import pytest

from shoestring import Model
from shoestring.cli.main import main
from shoestring.execute import tickets as trainings

WORDS = ("--epochs", "2", "--model", "simplecnn", "--width", "0.25", "--device", "cpu")
pytestmark = pytest.mark.usefixtures("few_digits")


def rows(result: dict) -> list[dict]:
    return [{key: value for key, value in row.items() if key != "seconds"} for row in result["rows"]]


def test_an_interrupted_experiment_is_resumed_and_ends_as_if_it_had_not_been(call, tmp_path, monkeypatch):
    words = ["tickets", "digits", *WORDS, "--levels", "2", "--rewind", "10%", "--controls", "reinit,finetune"]
    whole = call(*words, "--out", tmp_path / "whole")
    train, done = trainings.train_masked, []

    def stop(*args):
        if len(done) in (2, 5):
            done.append("interrupted")
            raise KeyboardInterrupt
        done.append("trained")
        return train(*args)

    monkeypatch.setattr(trainings, "train_masked", stop)
    for _ in range(2):
        assert main([*words, "--out", str(tmp_path / "parts"), "--quiet"]) == 130
    parts = call(*words, "--out", tmp_path / "parts")
    assert done.count("trained") == len(whole["rows"]) == 7
    assert rows(parts) == rows(whole)
    assert call(*words, "--out", tmp_path / "parts") == parts
    left = {file.name for file in (tmp_path / "parts" / "tickets").rglob("*.safetensors")}
    assert left == {
        "level-00-start.safetensors",
        "level-01-ticket-mask.safetensors",
        "level-02-ticket-mask.safetensors",
        "level-02-finetune-mask.safetensors",
        "level-02-ticket.safetensors",
        "level-02-finetune.safetensors",
    }


def test_results_are_printed_and_written(capsys, call, refused, tmp_path):
    run = tmp_path / "run"
    words = ["tickets", "digits", *WORDS, "--levels", "1", "--controls", "random", "--seeds", "2", "--out", str(run)]
    assert main([*words, "--quiet"]) == 0
    printed = capsys.readouterr().out
    assert "ticket" in printed and "80" in printed and "Masks give no speed" in printed and "(" in printed
    with (run / "tickets.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert [row["network"] for row in table] == 2 * ["dense", "ticket", "random"]
    assert json.loads((run / "run.json").read_text())["result"]["rows"][1]["weights"] == pytest.approx(0.8, abs=0.01)
    assert "| level | weights |" in (run / "report" / "report.md").read_text()
    page = run / "report" / "index.html"
    assert "Accuracy of tickets and control networks" in page.read_text()
    page.unlink()
    capsys.readouterr()
    assert main(["report", str(run)]) == 0
    assert page.exists() and capsys.readouterr().out.splitlines()[:3] == printed.splitlines()[:3]
    weight = Model.load(run).module.hidden.weight
    assert float((weight != 0).float().mean()) == pytest.approx(call(*words)["winner"]["weights"], abs=0.01)
    assert "another run" in refused(*words, "--seed", 5)


def test_the_settings_of_a_run_are_used(call, tmp_path, capsys):
    call("train", "digits", *WORDS, "--learning-rate", "0.01", "--out", tmp_path / "run")
    words = ["tickets", str(tmp_path / "run"), "--levels", "1"]
    assert main([*words, "--dry-run", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["train.learning_rate"]["value"] == 0.01
    assert (values["train.model"]["value"], values["train.width"]["value"]) == ("simplecnn", 0.25)
    assert values["tickets.levels"] == {"value": 1, "from": "flags"}
    result = call(*words, "--controls", "none", "--epochs", 2, "--out", tmp_path / "tickets")
    assert result["model"] == "simplecnn" and len(result["rows"]) == 2


def test_bad_input_is_one_line_and_leaves_no_folder(refused, tmp_path):
    out = ("--out", tmp_path / "run")
    assert "argument DATA or RUN is missing" in refused("tickets")
    assert "--rewind 5000 is after the end" in refused("tickets", "digits", *WORDS, "--rewind", 5000, *out)
    assert "Did you mean --levels?" in refused("tickets", "digits", "--level", 3)
    assert "--rate must be" in refused("tickets", "digits", "--rate", "1.5")
    assert "unknown control 'shuffle'. Did you mean 'shuffled'" in refused("tickets", "digits", "--controls", "shuffle")
    assert "trainings of ten steps would not fit" in refused("tickets", "digits", "--time", "1s", *out, code=3)
    assert not (tmp_path / "run").exists()
