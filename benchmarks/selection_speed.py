"""What choosing costs: processor seconds and memory beyond the features of every method, and how good the choice is.

    OMP_NUM_THREADS=1 python benchmarks/selection_speed.py [CASE ...] [--device cuda]

writes results/selection_speed.json; named cases replace those of an earlier run. The features are made up: 512 numbers
an image, in 200 clusters, cut at zero as those of a network are. Each case runs in a process of its own, so that the
peak of memory is the operating system's. Other tools are measured where `pip install apricot-select submodlib-py` was
done, with the table of cosines that they are given counted as theirs.
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

# name -> method, images, chosen, balance, options, goals (processor seconds, MB beyond the features)
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
    "facility_location, 64 neighbours": {
        "method": "facility_location",
        "options": {"neighbours": 64},
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
    # Other tools on the same images, with a table of cosines made by us: apricot's own metric "cosine" is its square.
    "apricot": {"method": "apricot", "images": 10_000},
    "submodlib": {"method": "submodlib", "images": 10_000},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--alone", choices=CASES, help="run this case here and print what it cost")
    parser.add_argument("--device", default="cpu", help="where images are compared by the methods that can, as cuda")
    given = parser.parse_args()
    if given.alone:
        case = {"balance": "none", "images": 50_000, "options": {}, **CASES[given.alone]}
        try:
            print(json.dumps(_measured(**case, device=given.device)))
        except ModuleNotFoundError as error:
            print(f"{error.name} is not installed.")
        return
    found = json.loads(RESULTS.read_text())["cases"] if given.cases and RESULTS.exists() else {}
    around = {}
    for name in given.cases or CASES:
        around[name] = {
            "load_before": round(os.getloadavg()[0], 2),
            "threads": os.environ.get("OMP_NUM_THREADS", "all"),
        }
        command = [sys.executable, __file__, "--alone", name, "--device", given.device]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        if not done.stdout.startswith("{"):
            print(name, "left out:", done.stdout.strip(), flush=True)
            continue
        placed = name if given.device == "cpu" else f"{name}, on {given.device}"
        found[placed], around[placed] = json.loads(done.stdout), around.pop(name)
        print(placed, found[placed], flush=True)
    # Only now, because it imports torch, and a process that is started begins with the peak of the one that starts it.
    found.update(
        {name: {**found[name], "machine": {**machine(), **own}} for name, own in around.items() if name in found}
    )
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps({"cases": found, "share_of_exact": _shares(found)}, indent=1) + "\n")


def _measured(
    *,
    method: str,
    images: int,
    balance: str,
    options: dict[str, Any],
    device: str,
    goal: dict[str, float] | None = None,
) -> dict[str, Any]:
    """One choice of 1,000 images, after everything that it imports is imported and the features are in memory."""
    other = OTHERS.get(method)
    if other:
        other(_pool(1000).features, 10)  # compiled, where it is compiled at first use
    else:
        registry.find("select", method)
    import sklearn.cluster  # noqa: F401

    pool = _pool(images, device)
    pool.features.sum()
    if device != "cpu":
        import torch

        torch.zeros(1, device=device)  # that it awakes is not what is measured
    before, began, on_the_clock = _peak_mb(), time.process_time(), time.monotonic()
    if other:
        chosen = other(pool.features, 1000)
    else:
        chosen = select_subset(pool, 1000, Strategy(method, options), balance=balance).indices
    cost = {
        "cpu_seconds": round(time.process_time() - began, 2),
        "seconds": round(time.monotonic() - on_the_clock, 2),
        "peak_mb": round(_peak_mb() - before, 1),
    }
    by_chance = select_subset(pool, 1000, Strategy("random"), balance=balance).indices
    return {
        "method": method,
        "images": images,
        "chosen": len(chosen),
        "balance": balance,
        "options": options,
        **cost,
        **({"goal": goal} if goal else {}),
        "quality": {name: [own(pool, chosen), own(pool, by_chance)] for name, own in QUALITIES.items()},
    }


def _pool(count: int, device: str = "cpu") -> Pool:
    """Images without pixels to speak of, made in parts so that their making does not count as a peak."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(CLUSTERS, DIMENSIONS)).astype(np.float32)
    features = np.empty((count, DIMENSIONS), dtype=np.float32)
    for part in np.array_split(features, count // 1000):
        noise = rng.standard_normal(part.shape, dtype=np.float32)
        np.maximum(centres[rng.integers(0, CLUSTERS, len(part))] + noise, 0, out=part)
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
    return np.array([place for place, _ in function.maximize(size, optimizer="LazyGreedy", show_progress=False)])


OTHERS = {"apricot": _apricot, "submodlib": _submodlib}


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _coverage(pool: Pool, chosen: np.ndarray) -> float:
    """Mean over all images of the highest cosine with a chosen one: what facility location maximises."""
    features = pool.features
    parts = [features[i : i + 1000] @ features[chosen].T for i in range(0, len(features), 1000)]
    return round(float(np.mean([part.max(1).astype(np.float64).mean() for part in parts])), 6)


def _farthest(pool: Pool, chosen: np.ndarray) -> float:
    """The largest distance of an image to its nearest chosen one: what k-center minimises."""
    features = pool.features
    least = min((features[i : i + 1000] @ features[chosen].T).max(1).min() for i in range(0, len(features), 1000))
    return round(float(np.sqrt(max(2 - 2 * least, 0))), 4)


def _of_means(pool: Pool, chosen: np.ndarray) -> float:
    """The distance of the mean of the chosen to that of all: what herding and representative minimise."""
    return round(float(np.linalg.norm(pool.features[chosen].mean(0) - pool.features.mean(0))), 5)


def _apart(pool: Pool, chosen: np.ndarray) -> float:
    """Mean cosine distance of two chosen images: what diversity maximises."""
    total = pool.features[chosen].sum(0, dtype=np.float64)
    return round(float(1 - (total @ total - len(chosen)) / (len(chosen) * (len(chosen) - 1))), 5)


def _volume(pool: Pool, chosen: np.ndarray) -> float:
    """log det of the cosines with 0.001 on the diagonal: what log_det maximises."""
    table = (pool.features[chosen] @ pool.features[chosen].T).astype(np.float64)
    return round(float(np.linalg.slogdet(table + 1e-3 * np.eye(len(table)))[1]), 1)


QUALITIES = {
    "mean_highest_cosine": _coverage,
    "largest_distance": _farthest,
    "distance_of_means": _of_means,
    "mean_distance_of_two": _apart,
    "log_volume": _volume,
}


def _shares(found: dict[str, Any]) -> dict[str, float]:
    """How much of exact facility location's gain over random the cheaper ways reach."""
    shares = {}
    for name, exact in [
        ("facility_location, 64 neighbours", "facility_location, exact"),
        ("facility_location, sample 0.05", "facility_location, 10,000 images"),
    ]:
        if name in found and exact in found:
            own, by_chance = found[name]["quality"]["mean_highest_cosine"]
            best, _ = found[exact]["quality"]["mean_highest_cosine"]
            shares[name] = round((own - by_chance) / (best - by_chance), 4)
    return shares


if __name__ == "__main__":
    main()
