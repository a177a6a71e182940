from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoestring.cli.main import main


@pytest.fixture
def call(capsys):
    """Run a command that succeeds and return its JSON result."""

    def run(*words: object) -> dict:
        capsys.readouterr()
        assert main([*map(str, words), "--json", "--quiet"]) == 0
        return json.loads(capsys.readouterr().out)

    return run


@pytest.fixture
def refused(capsys):
    """Run a command that fails and return its one error line."""

    def run(*words: object, code: int = 2) -> str:
        capsys.readouterr()
        assert main([*map(str, words), "--quiet"]) == code
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1
        return lines[0]

    return run


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with twelve photos of cats and twelve of dogs."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for index in range(12):
            pixels = rng.integers(0, 255, (16, 16, 3)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / "photos" / name / f"{index}.png")
    return tmp_path / "photos"


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A file with features of these photos."""
    np.save(tmp_path / "rows.npy", np.random.default_rng(1).normal(size=(24, 6)).astype(np.float32))
    return tmp_path / "rows.npy"
