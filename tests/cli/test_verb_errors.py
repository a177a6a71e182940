from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from shoestring.cli import run
from shoestring.cli.main import main
from shoestring.cli.show import grid


@pytest.mark.parametrize("content", ["[1]", "{", "{}"])
@pytest.mark.parametrize("words", ["report RUN", "evaluate RUN", "predict RUN x.png", "prune RUN --macs 0.5"])
def test_damaged_runs(capsys, tmp_path: Path, content: str, words: str) -> None:
    (tmp_path / "run.json").write_text(content)
    assert main([str(tmp_path) if word == "RUN" else word for word in words.split()]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("prune RUN --macs 0.5", "is a selection and trained no network: pass the folder of a training."),
        ("evaluate RUN --out OUT", "holds no model"),
        ("evaluate RUN", "holds no model"),
    ],
)
def test_selection_has_no_network(capsys, tmp_path: Path, words: str, message: str) -> None:
    recipe = '{"data": "digits", "select": {"examples": 50}, "only": "select"}'
    (tmp_path / "run.json").write_text(f'{{"recipe": {recipe}}}')
    paths = {"RUN": str(tmp_path), "OUT": str(tmp_path / "out")}
    assert main([paths.get(word, word) for word in words.split()]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    "words", ["frobnicate", "--versoin", "rn", "list modles", "list models resnt20", "check nowhere", "select digits"]
)
def test_other_verbs(capsys, words: str) -> None:
    assert main(words.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("report FOLDER", "is not a run folder (it has no run.json)."),
        ("report", "the argument RUN, the folders of finished runs, or of one experiment, is missing."),
        ("predict FOLDER FOLDER", "holds no model"),
    ],
)
def test_wrong_or_missing_folder(capsys, tmp_path: Path, words: str, message: str) -> None:
    assert main([str(tmp_path) if word == "FOLDER" else word for word in words.split()]) == 2
    assert message in capsys.readouterr().err


def test_a_table_in_a_file_is_not_padded(capsys) -> None:
    grid(("", ""), [("long name", "x"), ("name", "a long value")])
    assert capsys.readouterr().out == "long name  x\nname       a long value\n"


def test_help_of_a_verb(capsys) -> None:
    for words in (["help", "select"], ["select", "--help"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 0
        assert "--examples" in capsys.readouterr().out


def test_lost_process_of_a_job_is_a_one_line_error(capsys, monkeypatch) -> None:
    def lost(*args: object) -> int:
        raise RuntimeError("[pair.cc:545] Read error [127.0.0.1]:48348: Connection reset by peer.")

    monkeypatch.setattr(run, "_main", lost)
    with pytest.raises(RuntimeError):  # a run of one process raises it unchanged
        main(["train", "digits"])
    monkeypatch.setattr(run, "process_group", lambda: contextlib.nullcontext(object()))
    assert main(["train", "digits"]) == 2
    assert capsys.readouterr().err.splitlines()[-1].startswith("error: another process of this job has ended")
