"""Where runs write their output, and that other files are left unchanged."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoestring.cli.main import main

QUICK = ("--epochs", "1", "--model", "simplecnn", "--batch-size", "2", "--quiet")


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder and working directory with forty photos of two classes."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(20):
            _photo(tmp_path / "photos" / name / f"{index}.png", rng)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path.resolve()


def _photo(file: Path, rng: np.random.Generator) -> None:
    Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(file)


def _files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def _refused(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """Return the one error line of a command that fails."""
    assert main(words) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.startswith("error: ") and captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize("out", ["photos", "photos/run", "photos/cat/run", "link/run", "~/photos/run", "."])
def test_run_folder_among_the_images_is_refused(home, capsys, out):
    (home / "link").symlink_to(home / "photos")
    before = _files(home)
    message = _refused(capsys, "run", "photos", "--out", out, *QUICK)
    assert "the data" in message and "--out" in message
    assert _files(home) == before


@pytest.mark.parametrize("data", ["images.npz", "~/images.npz", "arrays:images.npz"])
def test_run_folder_must_not_be_the_data_file(home, capsys, data):
    np.savez(home / "images.npz", images=np.zeros((40, 8, 8), np.uint8), labels=np.arange(40) % 2)
    before = _files(home)
    assert "images.npz" in _refused(capsys, "run", data, "--out", "images.npz", *QUICK)
    assert "images.npz" in _refused(capsys, "run", data, "--out", ".", *QUICK)
    assert _files(home) == before


@pytest.mark.parametrize(
    "flag", ["--copy-to photos/chosen", "--copy-to .", "--csv photos/list.csv", "--signals photos/cat/signals.npz"]
)
def test_other_outputs_among_the_images_are_refused(home, capsys, flag):
    before = _files(home)
    assert flag.split()[0] in _refused(capsys, "select", "photos", "--examples", "9", *flag.split(), "--quiet")
    assert _files(home) == before


def test_selected_images_are_not_copied_into_the_run_folder(home, capsys):
    words = ("select", "photos", "--examples", "9", "--out", "out", "--quiet")
    assert "must be separate" in _refused(capsys, *words, "--copy-to", "out/select")
    assert not (home / "out").exists()


@pytest.mark.parametrize("name", ["recipe.yaml", "report/report.md", "run.json", ".hidden"])
def test_folder_with_other_files_is_refused(home, capsys, name):
    (home / "mine" / name).parent.mkdir(parents=True)
    (home / "mine" / name).write_text('{"name": "mine"}')
    before = _files(home)
    for words in (("run", "digits"), ("train", "digits", "--plan"), ("select", "digits", "--examples", "9")):
        message = _refused(capsys, *words, "--out", "mine", *(QUICK if words[0] != "select" else ()))
        assert "mine" in message and "--out" in message
    assert _files(home) == before


@pytest.mark.parametrize("out", ["file", "file/run", "x" * 256, "dangling"])
def test_path_that_cannot_be_a_folder_is_refused(home, capsys, out):
    (home / "file").write_text("")
    (home / "dangling").symlink_to(home / "file" / "nowhere")
    _refused(capsys, "run", "photos", "--out", out, *QUICK)


@pytest.mark.parametrize("out", ["x" * 255, "two\nlines", "~/some/run", "empty"])
def test_unusual_folder_names_are_accepted(home, capsys, out):
    (home / "empty").mkdir()
    assert main(["run", "photos", "--out", out, *QUICK]) == 0
    assert (home / out.replace("~/", "") / "report" / "report.md").is_file()
    assert capsys.readouterr().err == ""


def test_empty_folder_stays_empty_when_the_run_is_refused(home, capsys):
    (home / "empty").mkdir()
    _refused(capsys, "run", "photos", "--out", "empty", *QUICK, "--macs", "1e-9")
    assert list((home / "empty").iterdir()) == []


def test_same_command_resumes_from_another_directory(home, capsys, monkeypatch):
    assert main(["run", "photos", "--out", "run", *QUICK]) == 0
    first = capsys.readouterr().out
    assert json.loads((home / "run" / "run.json").read_text())["recipe"]["data"] == str(home / "photos")
    (home / "below").mkdir()
    monkeypatch.chdir(home / "below")
    for spelling in ("../photos", "~/photos", str(home / "photos") + "/"):
        assert main(["run", spelling, "--out", "~/run", *QUICK]) == 0
        assert capsys.readouterr().out.splitlines()[:-1] == first.splitlines()[:-1]
    assert main(["evaluate", "../run", "--quiet"]) == 0
    assert main(["prune", "~/run", "--params", "0.5", "--out", "~/small", "--epochs", "1", "--quiet"]) == 0
    assert main(["predict", "~/run", "~/photos/cat/0.png"]) == 0


def test_finished_run_detects_changed_images(home, capsys):
    words = ["run", "photos", "--out", "run", *QUICK]
    assert main(words) == 0
    assert main(words) == 0
    capsys.readouterr()
    _photo(home / "photos" / "cat" / "new.png", np.random.default_rng(1))
    message = _refused(capsys, *words)
    assert "have changed" in message and "--out" in message and "remove" in message
    (home / "photos" / "cat" / "new.png").unlink()
    os.utime(home / "photos" / "cat" / "0.png")  # rewritten with the same content
    assert main(words) == 0
    key = json.loads((home / "run" / "run.json").read_text())["data"]["key"]
    assert main(words) == 0
    assert json.loads((home / "run" / "run.json").read_text())["data"]["key"] == key


def test_finished_selection_detects_changed_images(home, capsys):
    words = ["select", "photos", "--unlabeled", "--method", "facility_location", "--examples", "9"]
    words += ["--features", "features.npy", "--balance", "none", "--out", "out", "--quiet"]
    np.save(home / "features.npy", np.random.default_rng(0).random((40, 4), np.float32))
    assert main(words) == 0
    _photo(home / "photos" / "cat" / "new.png", np.random.default_rng(1))
    capsys.readouterr()
    assert "have changed" in _refused(capsys, *words)


def test_evaluation_is_not_written_among_the_images(home, capsys):
    assert main(["run", "photos", "--out", "run", *QUICK]) == 0
    before = _files(home)
    for words in (
        ("--out", "photos/cat/new"),
        ("--on", "photos", "--out", "photos"),
        ("--on", "~/photos", "--out", "."),
    ):
        capsys.readouterr()
        assert "the data" in _refused(capsys, "evaluate", "run", *words, "--quiet")
    assert _files(home) == before
    assert main(["evaluate", "run", "--on", "photos", "--out", "~/new/folder", "--quiet"]) == 0
    assert (home / "new" / "folder" / "metrics.json").is_file()


def test_empty_copy_after_a_power_failure_is_rewritten(home, capsys):
    words = [
        "select",
        "photos",
        "--method",
        "random",
        "--examples",
        "4",
        "--out",
        "out",
        "--copy-to",
        "copies",
        "--quiet",
    ]
    assert main([*words, "--copy-to", "copies"]) == 0
    before = _files(home / "copies")
    emptied = home / "copies" / next(iter(before))
    emptied.write_bytes(b"")
    assert main([*words, "--copy-to", "copies"]) == 0
    assert _files(home / "copies") == before
