"""`--labels`: a table of paths and labels instead of class folders."""

from __future__ import annotations

from pathlib import Path

import pytest

NET = ("--model", "simplecnn", "--width", "0.125", "--epochs", "14", "--device", "cpu")


@pytest.fixture
def table(photos: Path, tmp_path: Path) -> Path:
    """A semicolon-separated table of the photos, beside them, with a label that is not their folder."""
    files = sorted(photos.rglob("*.png"))
    lines = [
        f"{file.relative_to(photos)};{'even' if int(file.stem) % 2 == 0 else 'odd'};walk {int(file.stem) // 2 % 6}"
        for file in files
    ]
    path = tmp_path / "labels.csv"
    path.write_text("\n".join(["File;Class;walk", *lines]), encoding="utf-8-sig")
    return path


def test_a_run_and_what_follows_it(call, refused, photos, table, tmp_path):
    words = ("run", photos, "--labels", table, "--group-column", "walk", *NET, "--out", tmp_path / "run")
    result = call(*words)
    assert sorted(result["per_class"]) == ["even", "odd"]
    assert call(*words) == result
    pruned = call("prune", tmp_path / "run", "--macs", "0.9", "--epochs", "14", "--out", tmp_path / "pruned")
    assert sorted(pruned["per_class"]) == ["even", "odd"]
    other = tmp_path / "other.csv"
    other.write_text("image,kind\ncat/1.png,odd\ndog/2,even\ndog/4.png,even\n")
    found = call("evaluate", tmp_path / "run", "--on", photos, "--labels", other, "--label-column", "kind")
    assert {name: entry["images"] for name, entry in found["per_class"].items()} == {"even": 2, "odd": 1}
    table.write_text(table.read_text().replace("cat/1.png;odd", "cat/1.png;even"))
    assert "labels.csv has changed since" in refused(*words)


def test_check_and_select(call, refused, photos, table, tmp_path):
    data = call("check", photos, "--labels", table)["data"]
    assert data["train"] + data["validation"] + data["test"] == 24
    assert data["classes"].startswith("even ")
    assert any("images in 'File', labels in 'Class'" in note for note in data["notes"])
    words = ("select", photos, "--labels", table, "--examples", "6", "--method", "random")
    result = call(*words, "--out", tmp_path / "selected", "--copy-to", tmp_path / "copies")
    assert result["examples"] == 6
    assert sorted(path.name for path in (tmp_path / "copies").iterdir()) == ["even", "odd"]
    assert "--unlabeled there are none" in refused(*words, "--unlabeled")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--label-column", "clas"), "unknown column of labels.csv 'clas'. Did you mean 'Class'?"),
        (("--group-column", "patient"), "unknown column of labels.csv 'patient'. Known: Class, File, walk."),
        (("--split-column", "walk"), "column 'walk' of labels.csv says 'walk 0' of 'cat/0.png'"),
    ],
)
def test_columns_that_do_not_fit(refused, photos, table, monkeypatch, words, text):
    monkeypatch.chdir(table.parent)
    assert text in refused("check", photos, "--labels", "labels.csv", *words)


def test_columns_without_a_table(refused, photos):
    expected = "--label-column names a column of a table: add --labels FILE."
    assert expected in refused("run", photos, "--label-column", "label")
    assert expected in refused("check", photos, "--label-column", "label")
    assert "--labels lists images of other data" in refused("evaluate", "nowhere", "--labels", "labels.csv")
