from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from shoestring.exporting import triton


@pytest.mark.parametrize(("name", "expected"), [("digits", "digits"), ("my run/é 1", "my-run-1"), ("..", "model")])
def test_names_are_those_that_servers_accept(name, expected):
    assert triton.repository_name(name) == expected


def test_repositories_describe_the_model(metadata, tmp_path: Path):
    metadata = replace(metadata, classes=("cat", 'a "dog"\nélan'))
    triton.write_repository(tmp_path, "pets", metadata)
    files = {str(file.relative_to(tmp_path)) for file in tmp_path.rglob("*") if file.is_file()}
    assert files | {triton.model_file("pets")} == set(triton.files("pets"))
    assert (tmp_path / "pets" / "labels.txt").read_text(encoding="utf-8") == 'cat\na "dog" élan\n'
    config = (tmp_path / "pets" / "config.pbtxt").read_text(encoding="utf-8")
    for line in ('name: "pets"', 'backend: "onnxruntime"', "dims: [ -1, -1, 1 ]", "dims: [ 2 ]", "kind: KIND_AUTO"):
        assert line in config
    assert "dynamic_batching {" in config and config.isascii() and config.count("{") == config.count("}")
