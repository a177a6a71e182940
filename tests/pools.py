"""Pools with given features, and a brute-force greedy selection as a reference."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shoestring.data.memory import in_memory
from shoestring.selection import Pool, Signals

# methods whose first image does not depend on the seed
DETERMINISTIC = (
    "d2",
    "diversity",
    "facility_location",
    "graph_cut",
    "herding",
    "k_center",
    "max_herding",
    "representative",
)


def unit(features) -> np.ndarray:
    features = np.asarray(features, dtype=np.float64)
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


def some_features(count: int, *, seed: int, dimensions: int = 8) -> np.ndarray:
    """Random features with positive and negative cosines."""
    return unit(np.random.default_rng(seed).normal(size=(count, dimensions)))


def pool_of(features: np.ndarray, *, classes: int = 1, margins: np.ndarray | None = None) -> Pool:
    """A pool of black images with these features and final margins; the other signals are constant."""
    count = len(features)
    labels = np.arange(count) % classes
    names = [f"class{index}" for index in range(classes)]
    images = in_memory(np.zeros((count, 4, 4, 1), dtype=np.uint8), labels, classes=names)
    zeros, epochs = np.zeros(count), np.zeros((3, count), dtype=np.float32)
    uniform = np.full((count, classes), 1 / classes, dtype=np.float32)
    signals = Signals(
        features,
        zeros.astype(int),
        zeros == 0,
        zeros,
        zeros if margins is None else margins,
        epochs,
        epochs,
        epochs,
        probabilities=uniform,
    )
    return Pool(images, lambda: signals)


def brute_force(
    value: Callable[[list[int]], float], count: int, size: int, *, given: tuple[int, ...] = ()
) -> list[int]:
    """Brute force: each step adds the image with which the value of all selected images is highest."""
    selected = list(given)
    while len(selected) < size:
        candidates = [i for i in range(count) if i not in selected]
        selected.append(max(candidates, key=lambda i: value([*selected, i])))
    return selected
