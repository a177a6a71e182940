from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty image cache for each test."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("SHOESTRING_CACHE", str(folder))
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Callable[..., Path]:
    """Create a folder of class folders with small random PNG images: photos({"cat": 5, "dog": 5}, at="train")."""

    def make(counts: dict[str, int], *, at: str = "", size: tuple[int, int] = (12, 12), mode: str = "RGB") -> Path:
        rng = np.random.default_rng(0)
        for name, count in counts.items():
            folder = tmp_path / "photos" / at / name
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(count):
                shape = (size[1], size[0], 3) if mode == "RGB" else (size[1], size[0])
                Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8)).save(folder / f"{index:02d}.png")
        return tmp_path / "photos"

    return make


@pytest.fixture
def listed(tmp_path: Path) -> Path:
    """A folder with 24 images, in two subfolders that are not classes."""
    rng = np.random.default_rng(0)
    for index in range(24):
        file = tmp_path / "photos" / f"part{index % 2}" / f"{index:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(file)
    return tmp_path / "photos"
