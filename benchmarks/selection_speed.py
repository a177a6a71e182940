"""CPU seconds, memory beyond the features, and subset quality of every selection method.

    OMP_NUM_THREADS=1 python benchmarks/selection_speed.py [CASE ...] [--device cuda]

writes results/selection_speed.json; named cases replace those of an earlier run. The features are synthetic: 512 values
per image in 200 clusters, clipped at zero like a network's. Each case runs in its own process, so that the operating
system reports its peak memory. Other tools are measured if installed (`pip install apricot-select submodlib-py`); their
cost includes the similarity matrix that they need.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from machine import machine
from shoestring.config import registry
from shoestring.data.memory import in_memory
from shoestring.selection import Pool, Signals, Strategy, select_subset

RESULTS = Path(__file__).parent / "results" / "selection_speed.json"
DIMENSIONS, CLUSTERS, CLASSES = 512, 200, 10

# name -> method, images, balance, options, goals (processor seconds, MB beyond the features)
CASES: dict[str, dict[str, Any]] = {
    "facility_location, by class": {
        "method": "facility_location",
        "balance": "equal",
        "goal": {"cpu_seconds": 3, "peak_mb": 150},
    },
    "facility_location, 10,000 images": {
        "method": "facility_location",
        "images": 10_000,
        "goal": {"cpu_seconds": 3, "peak_mb": 150},
    },
    "facility_location, 64 neighbors": {
        "method": "facility_location",
        "options": {"neighbors": 64},
        "goal": {"cpu_seconds": 30, "peak_mb": 400},
    },
    "facility_location, sample 0.05": {"method": "facility_location", "options": {"sample": 0.05}, "images": 10_000},
    "facility_location, exact": {"method": "facility_location"},
    "max_herding, by class": {"method": "max_herding", "balance": "equal"},
    "prob_cover, by class": {"method": "prob_cover", "balance": "equal"},
    "k_center": {"method": "k_center", "goal": {"cpu_seconds": 4}},
    "herding": {"method": "herding", "goal": {"cpu_seconds": 4}},
    "representative": {"method": "representative", "goal": {"cpu_seconds": 4}},
    "graph_cut": {"method": "graph_cut", "goal": {"cpu_seconds": 4}},
    "log_det": {"method": "log_det"},
    "moderate": {"method": "moderate"},
    "diversity, by class": {"method": "diversity", "balance": "equal", "goal": {"cpu_seconds": 0.5}},
    "prototypes, by class": {"method": "prototypes", "balance": "equal"},
    "typiclust, by class": {"method": "typiclust", "balance": "equal"},
    # Other tools on the same images, with our cosine matrix: apricot's metric "cosine" is its square.
    "apricot": {"method": "apricot", "images": 10_000},
    "submodlib": {"method": "submodlib", "images": 10_000},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--alone", choices=CASES, help="run this case in this process and print its cost")
    parser.add_argument("--device", default="cpu", help="device for the methods that support it, such as cuda")
    args = parser.parse_args()
    if args.alone:
        case = {"balance": "none", "images": 50_000, "options": {}, **CASES[args.alone]}
        try:
            print(json.dumps(_measure(**case, device=args.device)))
        except ModuleNotFoundError as error:
            print(f"{error.name} is not installed.")
        return
    results = json.loads(RESULTS.read_text())["cases"] if args.cases and RESULTS.exists() else {}
    hardware = {}
    for name in args.cases or CASES:
        hardware[name] = {
            "load_before": round(os.getloadavg()[0], 2),
            "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        }
        command = [sys.executable, __file__, "--alone", name, "--device", args.device]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        if not done.stdout.startswith("{"):
            print(name, "skipped:", done.stdout.strip(), flush=True)
            continue
        label = name if args.device == "cpu" else f"{name}, on {args.device}"
        results[label], hardware[label] = json.loads(done.stdout), hardware.pop(name)
        print(label, results[label], flush=True)
    # Only now, because it imports torch, and the peak memory of a process starts at that of its parent.
    results.update(
        {name: {**results[name], "machine": {**machine(), **own}} for name, own in hardware.items() if name in results}
    )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"cases": results, "share_of_exact": _gain_fractions(results)}, indent=1) + "\n")


def _measure(
    *,
    method: str,
    images: int,
    balance: str,
    options: dict[str, Any],
    device: str,
    goal: dict[str, float] | None = None,
) -> dict[str, Any]:
    """Select 1,000 images after all imports, with the features in memory; return cost and quality."""
    other = OTHERS.get(method)
    if other:
        other(_pool(1000).features, 10)  # compile, for tools that compile on first use
    else:
        registry.find("select", method)
    import sklearn.cluster  # noqa: F401

    pool = _pool(images, device)
    pool.features.sum()
    if device != "cpu":
        import torch

        torch.zeros(1, device=device)  # exclude the device's startup from the measurement
    before, cpu, wall = _peak_mb(), time.process_time(), time.monotonic()
    if other:
        indices = other(pool.features, 1000)
    else:
        indices = select_subset(pool, 1000, Strategy(method, options), balance=balance).indices
    cost = {
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "seconds": round(time.monotonic() - wall, 2),
        "peak_mb": round(_peak_mb() - before, 1),
    }
    random = select_subset(pool, 1000, Strategy("random"), balance=balance).indices
    return {
        "method": method,
        "images": images,
        "chosen": len(indices),
        "balance": balance,
        "options": options,
        **cost,
        **({"goal": goal} if goal else {}),
        "quality": {name: [own(pool, indices), own(pool, random)] for name, own in QUALITIES.items()},
    }


def _pool(count: int, device: str = "cpu") -> Pool:
    """Return a pool of tiny images with synthetic features, generated in parts to keep peak memory low."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=(CLUSTERS, DIMENSIONS)).astype(np.float32)
    features = np.empty((count, DIMENSIONS), dtype=np.float32)
    for part in np.array_split(features, count // 1000):
        noise = rng.standard_normal(part.shape, dtype=np.float32)
        np.maximum(centers[rng.integers(0, CLUSTERS, len(part))] + noise, 0, out=part)
        part /= np.linalg.norm(part, axis=1, keepdims=True)
    labels = rng.permutation(np.arange(count) % CLASSES)
    images = in_memory(np.zeros((count, 1, 1, 1), dtype=np.uint8), labels, classes=[str(i) for i in range(CLASSES)])
    empty = np.zeros(count)
    return Pool(images, lambda: Signals(features, empty.astype(int), empty == 0, empty, empty), device=device)


def _apricot(features: np.ndarray, size: int) -> np.ndarray:
    from apricot import FacilityLocationSelection

    table = features @ features.T
    return FacilityLocationSelection(size, metric="precomputed", optimizer="lazy").fit(table).ranking


def _submodlib(features: np.ndarray, size: int) -> np.ndarray:
    from submodlib import FacilityLocationFunction

    table = features @ features.T
    function = FacilityLocationFunction(n=len(table), mode="dense", sijs=table, separate_rep=False)
    return np.array([index for index, _ in function.maximize(size, optimizer="LazyGreedy", show_progress=False)])


OTHERS = {"apricot": _apricot, "submodlib": _submodlib}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _coverage(pool: Pool, indices: np.ndarray) -> float:
    """Return the mean over all images of the highest cosine with a selected one: maximized by facility location."""
    features = pool.features
    parts = [features[i : i + 1000] @ features[indices].T for i in range(0, len(features), 1000)]
    return round(float(np.mean([part.max(1).astype(np.float64).mean() for part in parts])), 6)


def _covering_radius(pool: Pool, indices: np.ndarray) -> float:
    """Return the largest distance of an image to its nearest selected one: minimized by k-center."""
    features = pool.features
    least = min((features[i : i + 1000] @ features[indices].T).max(1).min() for i in range(0, len(features), 1000))
    return round(float(np.sqrt(max(2 - 2 * least, 0))), 4)


def _mean_difference(pool: Pool, indices: np.ndarray) -> float:
    """Return the distance between the means of the subset and the pool: minimized by herding and representative."""
    return round(float(np.linalg.norm(pool.features[indices].mean(0) - pool.features.mean(0))), 5)


def _mean_distance(pool: Pool, indices: np.ndarray) -> float:
    """Return the mean pairwise cosine distance of the subset: maximized by diversity."""
    total = pool.features[indices].sum(0, dtype=np.float64)
    return round(float(1 - (total @ total - len(indices)) / (len(indices) * (len(indices) - 1))), 5)


def _volume(pool: Pool, indices: np.ndarray) -> float:
    """Return the log determinant of the cosines with 0.001 added to the diagonal: maximized by log_det."""
    table = (pool.features[indices] @ pool.features[indices].T).astype(np.float64)
    return round(float(np.linalg.slogdet(table + 1e-3 * np.eye(len(table)))[1]), 1)


QUALITIES = {
    "mean_highest_cosine": _coverage,
    "largest_distance": _covering_radius,
    "distance_of_means": _mean_difference,
    "mean_distance_of_two": _mean_distance,
    "log_volume": _volume,
}


def _gain_fractions(results: dict[str, Any]) -> dict[str, float]:
    """Return the fraction of exact facility location's gain over random that the cheaper variants reach."""
    fractions = {}
    for name, exact in [
        ("facility_location, 64 neighbors", "facility_location, exact"),
        ("facility_location, sample 0.05", "facility_location, 10,000 images"),
    ]:
        if name in results and exact in results:
            own, random = results[name]["quality"]["mean_highest_cosine"]
            best, _ = results[exact]["quality"]["mean_highest_cosine"]
            fractions[name] = round((own - random) / (best - random), 4)
    return fractions


if __name__ == "__main__":
    main()
