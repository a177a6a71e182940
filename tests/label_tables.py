"""Tables of labels beside a folder of images."""

from __future__ import annotations

from pathlib import Path

import pytest

from shoestring.data import load
from shoestring.errors import UserError

COUNT = 24
LABELS = ["cat", "dog", "emu"]


def rows(*, prefix: str = "", count: int = COUNT) -> list[tuple[str, str]]:
    """Paths and labels of the images."""
    return [(f"{prefix}part{index % 2}/{index:02}.png", LABELS[index % 3]) for index in range(count)]


def write(file: Path, lines, header: str = "path,label", encoding: str = "utf-8") -> Path:
    """Write a CSV file; a line is a text, or its cells."""
    texts = [line if isinstance(line, str) else ",".join(line) for line in lines]
    file.write_text("\n".join([header, *texts]) + "\n", encoding=encoding)
    return file


def labels_of(data) -> dict[str, str]:
    splits = (data.train, data.validation, data.test)
    return {str(name): data.classes[label] for images in splits for name, label in zip(images.ids, images.targets)}


def message(folder, labels, **settings) -> str:
    with pytest.raises(UserError) as caught:
        load(folder, labels=labels, **settings)
    assert "\n" not in str(caught.value)
    return str(caught.value)
