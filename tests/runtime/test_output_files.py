from __future__ import annotations

import os
from pathlib import Path

import pytest

from shoestring.cli.main import main

pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs symbolic links")
SELECT = ("select", "digits", "--examples", "20", "--method", "random", "--quiet", "--json")


def refused(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    capsys.readouterr()
    assert main([*map(str, words)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    return error


def test_a_table_does_not_overwrite_an_existing_file(capsys, tmp_path: Path) -> None:
    table = tmp_path / "list.csv"
    table.write_text("mine")
    words = (*SELECT, "--out", str(tmp_path / "run"), "--csv", str(table))
    assert "--overwrite" in refused(capsys, *words)
    assert table.read_text() == "mine" and not (tmp_path / "run").exists()  # before any work
    assert main([*words, "--overwrite"]) == 0
    assert table.read_text().startswith("rank,")
    assert main([*words]) == 0  # the same selection writes the same table
    table.write_text("mine")
    assert "--overwrite" in refused(capsys, *words)
    assert table.read_text() == "mine"


def test_links_are_not_followed(capsys, tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir()
    (tmp_path / "kept.csv").write_text("mine")
    for name, target in (("list.csv", "kept.csv"), ("new.csv", "nowhere.csv"), ("copies", "precious")):
        (tmp_path / name).symlink_to(tmp_path / target)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "3").symlink_to(tmp_path / "precious")
    out = ("--out", tmp_path / "run", "--overwrite")
    for where in (("--csv", "list.csv"), ("--csv", "new.csv"), ("--copy-to", "copies"), ("--copy-to", "half")):
        error = refused(capsys, *SELECT, *out, where[0], tmp_path / where[1])
        assert "is a link" in error or "not an empty folder" in error
    assert (tmp_path / "kept.csv").read_text() == "mine"
    assert not (tmp_path / "nowhere.csv").exists() and not list((tmp_path / "precious").iterdir())
    assert "not a regular file" in refused(capsys, *SELECT, *out, "--csv", "/dev/null")


def test_copies_are_overwritten_on_request(capsys, tmp_path: Path) -> None:
    words = (*SELECT, "--out", str(tmp_path / "run"), "--copy-to", str(tmp_path / "copies"))
    assert main([*words]) == 0
    edited = next((tmp_path / "copies").rglob("*.png"))
    before = edited.read_bytes()
    edited.write_bytes(b"edited")
    assert main([*words]) == 0
    assert edited.read_bytes() == b"edited"
    assert main([*words, "--overwrite"]) == 0
    assert edited.read_bytes() == before


def test_evaluate_does_not_overwrite_existing_files(capsys, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "metrics.json").write_text("{}")
    (tmp_path / "link").symlink_to(tmp_path / "mine")
    assert "exists already" in refused(capsys, "evaluate", tmp_path, "--out", tmp_path / "mine")
    assert "is a link" in refused(capsys, "evaluate", tmp_path, "--out", tmp_path / "link", "--overwrite")
    assert "holds no model" in refused(
        capsys, "evaluate", tmp_path, "--out", tmp_path / "mine", "--overwrite", "--quiet"
    )
