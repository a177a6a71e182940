"""Pools made of given features, and the greedy choice done slowly and obviously."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from shoestring.data.loading import in_memory
from shoestring.selection import Pool, Signals


def unit(features) -> np.ndarray:
    features = np.asarray(features, dtype=np.float64)
    return (features / np.linalg.norm(features, axis=1, keepdims=True)).astype(np.float32)


def some_features(count: int, *, seed: int, dimensions: int = 8) -> np.ndarray:
    """Features with positive and negative cosines, no two alike."""
    return unit(np.random.default_rng(seed).normal(size=(count, dimensions)))


def pool_of(features: np.ndarray, *, classes: int = 1, margins: np.ndarray | None = None) -> Pool:
    """A pool of grey images with these features and margins at the end; the other signals tell nothing."""
    count = len(features)
    labels = np.arange(count) % classes
    names = [f"class{index}" for index in range(classes)]
    images = in_memory(np.zeros((count, 4, 4, 1), dtype=np.uint8), labels, classes=names)
    nothing, epochs = np.zeros(count), np.zeros((3, count), dtype=np.float32)
    equal = np.full((count, classes), 1 / classes, dtype=np.float32)
    signals = Signals(
        features,
        nothing.astype(int),
        nothing == 0,
        nothing,
        nothing if margins is None else margins,
        epochs,
        epochs,
        epochs,
        probabilities=equal,
    )
    return Pool(images, lambda: signals)


def slow_greedy(
    value: Callable[[list[int]], float], count: int, size: int, *, given: tuple[int, ...] = ()
) -> list[int]:
    """Image after image: the one with which the value of all chosen is highest."""
    chosen = list(given)
    while len(chosen) < size:
        left = [i for i in range(count) if i not in chosen]
        chosen.append(max(left, key=lambda i: value([*chosen, i])))
    return chosen
