"""Plain values of a made-up run, with hostile names, for tests of its report."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from shoestring.data.contact_sheet import data_uri
from shoestring.evaluation.comparison import compare
from shoestring.evaluation.metrics import wilson_interval
from shoestring.reporting.comparison import ComparedRun, Comparison, PairedTest
from shoestring.reporting.pictures import Gallery, Pair, Picture
from shoestring.reporting.run_data import RunData
from shoestring.reporting.tickets import notes, summarize

CLASSES = ("cat", '<script>alert("x")</script>', "$\\frac$ & \u202egod")
COUNTS = ((40, 8, 2), (3, 47, 0), (1, 2, 37))


def result(**changes: Any) -> dict[str, Any]:
    """Return results as in run.json."""
    matrix = np.array(COUNTS)
    per_class = {
        name: {
            "images": int(matrix[index].sum()),
            "recall": float(matrix[index, index] / matrix[index].sum()),
            "precision": float(matrix[index, index] / matrix[:, index].sum()),
            "f1": 0.9,
        }
        for index, name in enumerate(CLASSES)
    }
    right, images = int(np.trace(matrix)), int(matrix.sum())
    values = {
        "split": "test",
        "images": images,
        "accuracy": right / images,
        "interval": list(wilson_interval(right, images)),
        "balanced_accuracy": 0.89,
        "macro_f1": 0.88,
        "loss": 0.3,
        "calibration_error": 0.02,
        "validation": 0.9,
        "examples": 30,
        "training_pool": 120,
        "select": "d2",
        "class_weights": None,
        "model": "convnet",
        "options": {"width": 0.5},
        "params": 6000,
        "file_bytes": 24_000,
        "macs": 500_000,
        **latencies(1.5, 1.25, 0.25),
        "prediction": {"passes": 2.0, "macs": 1_000_000, **latencies(3.0, 2.5, 0.5)},
        "tta": {"model": "flip", "mirror": True, "images": {"flip": images}},
        "before_pruning": {"params": 12_000, "macs": 1_000_000, "validation": 0.92, "finished": True},
        "warnings": ["a class is never predicted"],
        "budget": {"unit": "seconds", "total": 60.0},
        "seconds": 58.0,
        "ledger": {"load": 1.0, "train": 40.0, "prune": 15.0},
        "per_class": per_class,
        "out": "runs/a b",
    }
    return {**values, **changes}


def latencies(single: float, threads: float, batch: float) -> dict[str, Any]:
    """Return latencies on a machine with four threads."""
    values = {"latency_ms": single, "latency_threads_ms": threads, "latency_batch_ms": batch}
    return {**values, "latency_threads": 4}


def layer(channels: int, milliseconds: float) -> dict[str, Any]:
    """Return the costs of a layer."""
    return {"channels": channels, "params": 100 * channels, "macs": 10_000 * channels, "latency_ms": milliseconds}


def comparison() -> dict[str, Any]:
    """Return what pruning changed, as in comparison.json: the first class lost, the last one gained."""
    rng = np.random.default_rng(0)
    labels = np.arange(300) % 3
    before, after = labels.copy(), labels.copy()
    after[labels == 0] = np.where(rng.random(100) < 0.3, 1, 0)
    before[labels == 2] = np.where(rng.random(100) < 0.1, 1, 2)
    sizes = {"before": (48_000, 2.0), "after": (24_000, 1.5)}
    points = {
        name: {"file_bytes": size, "latency_ms": milliseconds, "latency_threads": 4}
        for name, (size, milliseconds) in sizes.items()
    }
    return {"finished": True, "points": points, **compare(labels, before, after, CLASSES).as_dict()}


def label_result(**changes: Any) -> dict[str, Any]:
    """Return results of several labels per image."""
    entry = {"images": 40, "average_precision": 0.8, "recall": 0.75, "precision": 0.9, "f1": 0.82}
    unseen = {**dict.fromkeys(entry), "images": 0}
    per_label = {CLASSES[0]: entry, CLASSES[1]: {**entry, "average_precision": 0.6}, CLASSES[2]: unseen}
    values = {"task": "multi-label", "macro_average_precision": 0.7, "micro_f1": 0.8, "per_class": per_label}
    return result(**{**values, "before_pruning": None, **changes})


def plan() -> dict[str, Any]:
    """Return a plan as in run.json."""
    from shoestring.config.plan import Plan, TrainPlan, to_dict

    train = TrainPlan(16, "float32", "muon", 0.2, 0.0)
    return to_dict(Plan(8, "flip", select="d2", model="convnet", train=train, reasons={"model": "as <b>requested</b>"}))


def history() -> list[dict[str, Any]]:
    """Return rows as in history.jsonl: growth after 20 seconds, the cut after 40."""
    rows: list[dict[str, Any]] = [{"seconds": 1.0, "step": "select", "loss": 9.0}]
    for second in range(2, 58, 2):
        step = "train" if second < 40 else "prune"
        row = {
            "seconds": float(second),
            "step": step,
            "loss": 3 / second,
            "side": 8 if second < 20 else 16,
            "width": 1.0,
        }
        rows.append(
            {**row, **({"validation": 0.5 + second / 150, "validation_loss": 4 / second} if second % 10 == 0 else {})}
        )
    return [*rows, {"seconds": 58.0, "step": "end"}]


def run_data(**changes: Any) -> RunData:
    """Return the values of the run."""
    white = Picture(data_uri(np.full((8, 8, 1), 255, np.uint8)), '"><img src=x onerror=alert(1)>', CLASSES[1])
    values: dict[str, Any] = {
        "name": "a <b> run",
        "data_name": "photos & more",
        "result": result(),
        "trainings": [{"steps": 100, "epochs": 30.0}, {"steps": 50, "epochs": 12.0}],
        "plan": plan(),
        "environment": {"torch": "2.6", "at": "2026-01-01T00:00:00+0000"},
        "history": history(),
        "recipe": "data: digits\ntime: 60s\n",
        "cells": [(i, j, count) for i, row in enumerate(COUNTS) for j, count in enumerate(row) if count],
        "intervals": dict.fromkeys(CLASSES, (0.5, 0.95)),
        "reliability": [
            {"confidence": 0.6, "accuracy": 0.55, "interval": (0.4, 0.7), "images": 40},
            {"confidence": 0.95, "accuracy": 0.97, "interval": (0.9, 1.0), "images": 100},
        ],
        "layers": {"body.0": (64, 32), "body.1": (64, 64), "head": (3, 3)},
        "gallery": Gallery(
            {CLASSES[1]: [Pair(white, white), Pair(white, None)]},
            [white],
            {(0, 1): [white]},
            [Pair(white, white)],
            {"mistakes": "1 of 16", "chosen": "the first", "duplicates": "1 of 140", "looks": "where it looks"}
            | {"augmented": "as the network sees them"},
            [[white, white, white]],
            [[white, white, white]],
        ),
        "layer_costs": {"body.0": (layer(64, 1.5), layer(32, 0.5)), "head": (layer(3, 0.25), layer(3, 0.25))},
        "clusters": {"body.1": (64, 24)},
        "comparison": comparison(),
    }
    return RunData(**{**values, **changes})


def label_run() -> RunData:
    """Return the values of a run with several labels per image."""
    empty: dict[str, Any] = {"cells": (), "comparison": None, "layers": {}, "layer_costs": {}, "clusters": {}}
    intervals = {CLASSES[0]: (0.6, 0.9), CLASSES[1]: (0.6, 0.9), CLASSES[2]: None}
    errors = {name: (10 - index, 4) for index, name in enumerate(CLASSES)}
    data = run_data(result=label_result(), intervals=intervals, errors=errors, **empty)
    return replace(data, gallery=replace(data.gallery, cells={}))


def unfinished_run() -> RunData:
    """Return the values of a run that did not finish."""
    unknown = dict.fromkeys(("accuracy", "interval", "balanced_accuracy", "macro_f1", "loss", "calibration_error"))
    per_class = {name: {"images": 0, "recall": None, "precision": None, "f1": None} for name in CLASSES}
    values = result(**unknown, per_class=per_class, images=0, before_pruning=None, validation=0.51)
    empty: dict[str, Any] = {"cells": (), "reliability": (), "layers": {}, "layer_costs": {}, "clusters": {}}
    data = run_data(result=values, intervals=dict.fromkeys(CLASSES), gallery=Gallery.empty(), **empty, comparison=None)
    return replace(data, unfinished="this page shows it after 8 s.")


def comparison_of_runs(**changes: Any) -> Comparison:
    """Return a comparison of three runs, one of which is significantly better than another."""
    curve = ([1.0, 2.0, 3.0], [0.5, 0.7, 0.8])
    results = [result(seconds=10.0 * factor, macs=100_000 * factor, examples=50 * factor) for factor in (1, 2, 9)]
    runs = tuple(ComparedRun(f"run {n} <b>", "runs/n", one, curve, curve) for n, one in enumerate(results))
    tests = (PairedTest("run 0 <b>", "run 1 <b>", -0.1, (-0.15, -0.05), 3, 20, 0.001, 0.003),)
    values: dict[str, Any] = {"tests": tests, "untested": "", "differences": {"train.width": [1, 0.5, None]}}
    return Comparison(runs, **{**values, **changes})


def ticket_result() -> dict[str, Any]:
    """Return results of a lottery ticket experiment."""
    rows = [
        {"seed": seed, "level": level, "network": network, "weights": 0.8**level, "validation": 0.8}
        | {"accuracy": 0.9 - 0.01 * seed - 0.02 * level}
        for seed in range(3)
        for level in range(3)
        for network in (("dense",) if not level else ("ticket", "random"))
    ]
    sizes = {"prunable_weights": 1000, "frozen_weights": 0, "channels": None, "winner": rows[-2], "rows": rows}
    values = {**sizes, "model": "conv2 <b>", "summary": summarize(rows), "examples": 900, "seconds": 60.0}
    return {**values, "test_images": 300, "validation_images": 100, "notes": notes(sizes)}
