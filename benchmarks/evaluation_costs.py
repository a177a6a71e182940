"""Overhead of evaluation beyond the forward passes, by images, classes, pixels and passes.

    python benchmarks/evaluation_costs.py

Writes `results/evaluation_costs.json`: CPU seconds, the minimum of three, from which the constants of
`shoestring.evaluation.reserve` were set. The network evaluated does nothing, so that only the overhead is measured. On
one thread.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from machine import machine
from shoestring.data.images import Images
from shoestring.evaluation.calibration import fit_temperature, images_to_fit
from shoestring.evaluation.files import write_metrics
from shoestring.evaluation.metrics import collect_predictions, compute_metrics
from shoestring.models.inference import Predictor
from shoestring.models.model import Model
from shoestring.models.preprocessing import Preprocessing


class NoOp(torch.nn.Module):
    """Return stored logits."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(3 * torch.randn(2000, classes))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.logits[: len(images)]


def seconds(work: Callable[[], object]) -> float:
    """Return the minimum CPU time of three calls."""
    times = []
    for _ in range(3):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return round(min(times), 4)


def images_of(count: int, classes: int, side: int, channels: int) -> Images:
    pixels = np.zeros((count, side, side, channels), dtype=np.uint8)
    labels, ids = np.arange(count) % classes, np.array([f"train/class/{index:08}.png" for index in range(count)])
    return Images(pixels, labels, [f"class{index:05}" for index in range(classes)], ids, fingerprint="")


def costs(count: int, classes: int, side: int, channels: int, *, mirror: bool) -> dict[str, float]:
    size = Preprocessing(side, channels, (0.5,) * channels, (0.25,) * channels, mirror)
    images = images_of(count, classes, side, channels)
    model = Model(NoOp(classes), "nothing", {}, images.classes, size)
    sample = images_to_fit(classes)
    predictions = collect_predictions(Predictor(model)(images), images.targets, classes=classes, sample=sample)
    labels = predictions.labels[predictions.sample_indices]
    metrics = compute_metrics(predictions, classes=images.classes, split="test")
    with tempfile.TemporaryDirectory() as folder:
        return {
            "images": count,
            "classes": classes,
            "values an image": side * side * channels,
            "passes": 1 + mirror,
            "predict": seconds(lambda: collect_predictions(Predictor(model)(images), images.targets, classes=classes)),
            "temperature": seconds(lambda: fit_temperature(predictions.sample, labels)),
            "values of temperature": predictions.sample.size,
            "metrics": seconds(lambda: compute_metrics(predictions, classes=images.classes, split="test")),
            "files": seconds(lambda: write_metrics(Path(folder), metrics, predictions, images)),
            "cells": len(metrics.cells),
        }


CASES = ((20_000, 2, 8, 1), (20_000, 2000, 8, 1), (2_000, 2, 96, 3), (200_000, 10, 8, 1))
RESULTS = Path(__file__).parent / "results" / "evaluation_costs.json"

if __name__ == "__main__":
    hardware = machine()
    torch.set_num_threads(1)
    rows = [costs(*case, mirror=mirror) for case in CASES for mirror in (False, True)]
    RESULTS.write_text(json.dumps({"machine": hardware, "cases": rows}, indent=1) + "\n")
    print(RESULTS.read_text())
