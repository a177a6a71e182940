from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from shoestring.cli.main import main

NET = ("--model", "convnet", "--width", "0.125", "--quiet")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("runs")
    paths = [str(folder / name) for name in ("short", "long")]
    for path, epochs in zip(paths, ("2", "8")):
        assert main(["train", "digits", "--epochs", epochs, *NET, "--out", path]) == 0
    return paths


def test_compare_prints_results_tests_and_differences(runs, capsys):
    assert main(["compare", *runs]) == 0
    text = capsys.readouterr().out
    assert "short - long" in text and "yes" in text
    rows = [line.split() for line in text.splitlines()]
    assert [row for row in rows if row[:1] in (["epochs"], ["seed"])] == [["epochs", "2.0", "8.0"]]


def test_compare_as_json_agrees_with_the_runs(runs, capsys):
    assert main(["compare", *runs, "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    results = [json.loads((Path(run) / "run.json").read_text())["result"] for run in runs]
    assert [run["accuracy"] for run in content["runs"]] == [result["accuracy"] for result in results]
    [test] = content["tests"]
    assert test["difference"] == pytest.approx(results[0]["accuracy"] - results[1]["accuracy"])
    assert test["significant"] and content["untested"] is None
    assert content["differences"]["epochs"] == {"short": 2.0, "long": 8.0}


def test_runs_on_different_test_images_are_compared_without_tests(runs, capsys, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(runs[0], other)
    file = other / "evaluate" / "predictions.csv"
    rows = list(csv.reader(file.read_text().splitlines()))
    rows[1][0] = "another image"
    with file.open("w", newline="") as out:
        csv.writer(out).writerows(rows)
    assert main(["compare", str(other), runs[1]]) == 0
    assert "were tested on different images" in capsys.readouterr().out
    page = tmp_path / "page.html"
    assert main(["report", str(other), runs[1], "--out", str(page)]) == 0
    text = page.read_text()
    assert "cannot be compared" in text and "chart-pareto" not in text and "is most accurate" not in text
    file.unlink()
    assert main(["compare", runs[1], str(other)]) == 0
    assert "other has no predictions" in capsys.readouterr().out


def test_runs_of_an_older_version_are_one_line(runs, capsys, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(runs[0], old)
    content = json.loads((old / "run.json").read_text())
    del content["result"]["interval"], content["result"]["macs"]
    content["surroundings"]["shoestring"] = "0.0.1"
    (old / "run.json").write_text(json.dumps(content))
    for words in (["report", str(old)], ["compare", runs[1], str(old)], ["report", runs[1], str(old)]):
        assert main([*words, "--quiet"]) == 2
        error = capsys.readouterr().err
        assert "of shoestring 0.0.1" in error and error.count("\n") == 1


def test_report_of_several_runs_is_one_page(runs, capsys, tmp_path, charts, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["report", *runs]) == 0
    assert "saved to comparison.html" in capsys.readouterr().out
    page = (tmp_path / "comparison.html").read_text()
    assert "2 runs compared" in page and "chart-pareto-seconds" in page and "McNemar" in page
    assert "chart-pareto-examples" not in page  # they have the same number of training images
    assert main(["report", *runs]) == 2
    assert "comparison.html exists already" in capsys.readouterr().err
    assert main(["report", *runs, "--out", "comparison.html", "--overwrite", "--quiet"]) == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["compare", "RUN"], "at least two different runs"),
        (["compare", "RUN", "RUN"], "at least two different runs"),
        (["compare", "RUN", "NOWHERE"], "is not a run folder"),
        (["report", "RUN", "--out", "x.html"], "--out is the page of several runs"),
        (["compare"], "the argument RUN"),
    ],
)
def test_bad_input_is_one_line(runs, capsys, tmp_path, words, message):
    places = {"RUN": runs[0], "NOWHERE": str(tmp_path / "nowhere")}
    assert main([places.get(word, word) for word in words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_names_of_runs_in_different_folders_are_their_paths(runs, capsys, tmp_path):
    other = tmp_path / "short"
    shutil.copytree(runs[1], other)
    assert main(["compare", runs[0], str(other), "--json"]) == 0
    assert [run["name"] for run in json.loads(capsys.readouterr().out)["runs"]] == [runs[0], str(other)]
