from __future__ import annotations

import os
from pathlib import Path

import pytest

from shoestring.cli.main import main
from shoestring.config.layers import merge
from shoestring.config.recipe import Recipe
from shoestring.config.recipe_file import read
from shoestring.errors import UserError

BOMB = "a: &a [x, x]\n" + "".join(f"{name}: &{name} [*{before}, *{before}]\n" for before, name in zip("abcd", "bcde"))

FILES: list[tuple[str, bytes, str]] = [
    ("r.yaml", b"data: " + b"[" * 3000 + b"]" * 3000, "nested too deeply"),
    ("r.yaml", b"data: " + b"{a: " * 3000 + b"1" + b"}" * 3000, "nested too deeply"),
    ("r.json", b'{"data": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nested too deeply"),
    ("r.json", b'{"data": ' + b"[" * 30 + b"]" * 30 + b"}", "nested too deeply"),
    ("r.yaml", BOMB.encode(), "line 1 has an anchor or an alias"),
    ("r.yaml", b"epochs: 3\nepochs: 4\n", "duplicate key 'epochs'"),
    ("r.yaml", b"train: {width: 1, width: 2}", "duplicate key 'width'"),
    ("r.json", b'{"train": {"width": 1, "width": 2}}', "duplicate key 'width'"),
    ("r.yaml", bytes(range(256)), "not text in UTF-8"),
    ("r.yaml", "data: digits".encode("utf-16"), "not text in UTF-8"),
    ("r.yaml", b"#" * 2_000_000, "larger than"),
    ("r.yaml", b"!!python/object/apply:os.system [exit]", "neither YAML nor JSON"),
    ("r.yaml", b"? [a]\n: 3", "unhashable"),
    ("r.yaml", b"data: a\n---\ndata: b", "single document"),
    ("r.json", b"  ", "is empty"),
    ("r.yaml", b"data: digits\nepochs: " + b"9" * 400, "epochs must be a number"),
    ("r.yaml", b"data: digits\nepochs: " + b"9" * 5000, "neither YAML nor JSON"),
    ("r.yaml", b'data: "a\\0b"', "data must be text"),
    ("r.yaml", b"data: [digits]", "data must be text"),
    ("r.yaml", b"data: digits\ntrain: {lr: 0.1}", "Did you mean 'train.learning_rate'?"),
]


@pytest.mark.parametrize("name, content, message", FILES)
def test_an_invalid_recipe_is_a_one_line_error(capsys, tmp_path: Path, name: str, content: bytes, message: str) -> None:
    file = tmp_path / name
    file.write_bytes(content)
    assert main(["run", "--recipe", str(file), "--dry-run"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ") and error.count("\n") == 1
    assert message in error


def test_a_folder_and_a_missing_file_are_named(tmp_path: Path) -> None:
    for where in (tmp_path, tmp_path / "missing.yaml"):
        with pytest.raises(UserError, match=str(where)):
            read(where)


def test_a_date_is_text(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text("select: {order: 2020-01-31}")
    assert read(tmp_path / "r.yaml") == {"select": {"order": "2020-01-31"}}


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    for name, text in (("r.json", b'{"seed": 3}'), ("r.yaml", b"seed: 3")):
        (tmp_path / name).write_bytes(b"\xef\xbb\xbf" + text)
        assert read(tmp_path / name) == {"seed": 3}


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no /dev/zero")
def test_an_endless_file_is_read_up_to_the_limit() -> None:
    with pytest.raises(UserError, match="larger than"):
        read("/dev/zero")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX pipes")
def test_a_pipe_can_be_read() -> None:
    reading, writing = os.pipe()
    os.write(writing, b"seed: 3\n")
    os.close(writing)
    try:
        assert read(f"/dev/fd/{reading}") == {"seed": 3}
    finally:
        os.close(reading)


def test_a_section_may_be_empty(tmp_path: Path) -> None:
    file = tmp_path / "r.yaml"
    file.write_text("seed: 3\ntrain:\n  # width: 0.5\n")
    assert merge(("file", read(file)))[0] == Recipe(seed=3)
