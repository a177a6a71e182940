from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


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
