"""The test split decides nothing: other test images change only the test metrics."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from shoestring.config.recipe import Prune, Recipe, Select, Train
from shoestring.runs import pipeline
from shoestring.runs.directory import RunDir
from shoestring.runtime.context import Context

FILES = ["select/subset.json", "train/model.safetensors", "prune/model.safetensors", "train/model.json"]


def _data(file: Path, *, test_seed: int) -> str:
    """Save noisy images of three classes, hard enough that scores fluctuate, with test images of this seed."""

    def draw(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 3, count)
        pixels = rng.integers(0, 200, (count, 8, 8), dtype=np.uint8)
        pixels[np.arange(count), labels] += 55  # one row is a little brighter
        return pixels, labels

    images, labels = draw(200, 0)
    validation_images, validation_labels = draw(40, 1)
    test_images, test_labels = draw(40, test_seed)
    np.savez(
        file,
        images=images,
        labels=labels,
        validation_images=validation_images,
        validation_labels=validation_labels,
        test_images=test_images,
        test_labels=test_labels,
    )
    return str(file)


@pytest.mark.parametrize(
    ("train", "select", "prune"),
    [
        (Train(model="simplecnn", width=0.25, batch_size=20), Select("forgetting", 120), Prune(macs="0.5")),
        (Train(model="simplecnn", width=0.25, batch_size=20, patience=1), Select(), Prune()),
    ],
    ids=["select and prune", "early stopping"],
)
def test_other_test_images_change_only_the_test_metrics(train, select, prune, context: Context, tmp_path):
    results = []
    for seed in (2, 3):
        (tmp_path / str(seed)).mkdir()
        data = _data(tmp_path / str(seed) / "images.npz", test_seed=seed)
        recipe = Recipe(data=data, epochs=10, train=train, select=select, prune=prune)
        folder = RunDir(tmp_path / str(seed) / "run")
        result = pipeline.run(recipe, folder, context=context)
        files = {name: (folder / name).read_bytes() for name in FILES if (folder / name).exists()}
        model = json.loads((folder / ("prune" if prune.enabled else "train") / "model.json").read_text())
        training = folder.run["training"]
        results.append((result, (files, model["temperature"], training, result["validation"])))
    (one, unchanged), (other, repeated) = results
    assert unchanged == repeated
    assert len(unchanged[0]) == (4 if prune.enabled else 2)
    assert unchanged[1] != 1.0
    assert one["loss"] != other["loss"] and one["per_class"] != other["per_class"]
    assert unchanged[2]["ended"] == ("patience" if train.patience else "budget")
