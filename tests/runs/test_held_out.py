"""The test split decides nothing: with other test images and labels everything but the figures on them is the same."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from shoestring.config.recipe import Prune, Recipe, Select, Train
from shoestring.runs import pipeline, session
from shoestring.runs.directory import RunDir
from shoestring.runtime.context import Context

SAME = ["select/subset.json", "train/model.safetensors", "prune/model.safetensors", "train/model.json"]


def _data(file: Path, *, test_seed: int) -> str:
    """Three classes of noisy images, hard enough that scores go up and down, with test images of this seed."""

    def drawn(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 3, count)
        pixels = rng.integers(0, 200, (count, 8, 8), dtype=np.uint8)
        pixels[np.arange(count), labels] += 55  # one row is a little brighter
        return pixels, labels

    images, labels = drawn(200, 0)
    validation_images, validation_labels = drawn(40, 1)
    test_images, test_labels = drawn(40, test_seed)
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
def test_other_test_images_change_only_the_figures_on_them(
    train, select, prune, context: Context, tmp_path, monkeypatch
):
    monkeypatch.setattr(session, "_MAX_TIMING_RESERVE", 0.01)
    found = []
    for seed in (2, 3):
        (tmp_path / str(seed)).mkdir()
        data = _data(tmp_path / str(seed) / "images.npz", test_seed=seed)
        recipe = Recipe(data=data, epochs=10, train=train, select=select, prune=prune)
        folder = RunDir(tmp_path / str(seed) / "run")
        result = pipeline.run(recipe, folder, context=context)
        kept = {name: (folder / name).read_bytes() for name in SAME if (folder / name).exists()}
        model = json.loads((folder / ("prune" if prune.enabled else "train") / "model.json").read_text())
        training = folder.run["training"]
        found.append((result, (kept, model["temperature"], training, result["validation"])))
    (one, same), (other, again) = found
    assert same == again
    assert len(same[0]) == (4 if prune.enabled else 2)
    assert same[1] != 1.0
    assert one["loss"] != other["loss"] and one["per_class"] != other["per_class"]
    assert same[2]["ended"] == ("patience" if train.patience else "budget")
