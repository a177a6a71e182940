"""Parquet files of small images, as the Hugging Face Hub has them."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

datasets = pytest.importorskip("datasets")
PIXELS = np.random.default_rng(0).integers(0, 256, (20, 6, 6, 3), dtype=np.uint8)
NAMES = ["cat", "dog"]


def encoded(pixels) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def parquet(folder, split, *, rows=20, image="image", label="label", labels=None, kind=None, plain=False, shard=""):
    """Write one Parquet file of `rows` images and return its folder."""
    folder.mkdir(exist_ok=True)
    values = [encoded(one) for one in PIXELS[:rows]]
    column = values if plain else [{"bytes": one, "path": None} for one in values]
    features = {image: datasets.Value("binary") if plain else datasets.Image()}
    content = {image: column}
    if label:
        features[label] = kind or datasets.ClassLabel(names=NAMES)
        content[label] = [index % 2 for index in range(rows)] if labels is None else labels
    table = datasets.Dataset.from_dict(content, features=datasets.Features(features))
    table.to_parquet(folder / f"{split}-{shard or '00000-of-00001'}.parquet")
    return folder
