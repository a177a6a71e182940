"""Choosing from data larger than memory: 1,281,167 images of 768 numbers in half precision, in a file.

    python benchmarks/selection_scale.py FOLDER [--share 0.1] [CASE ...]

makes the features in FOLDER (2 GB; free space is checked), and removes them at the end. Each case runs in a process of
its own, so that the peak of memory is the operating system's, and is written to results/selection_scale.json when it is
done; cases that are there for the same share are not run again unless they are named. `--share` takes that part of the
images, of the classes and of those chosen.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from machine import machine
from shoestring.data.memory import in_memory
from shoestring.selection import Pool, Strategy, select_subset

RESULTS = Path(__file__).parent / "results" / "selection_scale.json"
IMAGES, DIMENSIONS, OF_CLASS, CHOSEN = 1_281_167, 768, 1281, 13_000
AT_ONCE = 20_000  # images that are made together

# name -> method, balance, options, goals (seconds, MB resident)
CASES: dict[str, dict[str, Any]] = {
    "facility_location, by class": {"method": "facility_location", "goal": {"seconds": 900, "peak_mb": 1500}},
    "streaming, by class": {"method": "streaming", "goal": {"seconds": 300, "peak_mb": 1500}},
    "streaming, without labels": {"method": "streaming", "balance": "none", "goal": {"seconds": 300, "peak_mb": 1500}},
    "random, by class": {"method": "random"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("cases", nargs="*", metavar="CASE")
    parser.add_argument("--share", type=float, default=1.0)
    parser.add_argument("--alone", choices=CASES, help="run this case here and print what it cost")
    given = parser.parse_args()
    count = round(given.share * IMAGES)
    file = given.folder / f"features-{count}.npy"
    if given.alone:
        print(json.dumps(_measured(file, round(given.share * CHOSEN), **CASES[given.alone])))
        return
    found = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    left = given.cases or [name for name in CASES if found.get(name, {}).get("images") != count]
    if left:
        _make(file, count)
    try:
        for name in left:
            command = [sys.executable, __file__, str(given.folder), "--share", str(given.share), "--alone", name]
            around = {"load_before": round(os.getloadavg()[0], 2)}
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            found[name] = {**json.loads(done.stdout), "machine": {**machine(), **around}}
            RESULTS.write_text(json.dumps(found, indent=1) + "\n")
            print(name, found[name], flush=True)
    finally:
        file.unlink(missing_ok=True)


def _make(file: Path, count: int) -> None:
    """Classes of some clusters each, in any order; unit length but for rounding."""
    size = 2 * count * DIMENSIONS
    if shutil.disk_usage(file.parent).free < size + 1e9:
        raise SystemExit(f"{file.parent} needs {size / 1e9 + 1:.1f} GB of free space.")
    rng = np.random.default_rng(0)
    labels = _labels(count)
    classes = labels.max() + 1
    centres = rng.standard_normal((3 * classes, DIMENSIONS), dtype=np.float32)
    out = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=(count, DIMENSIONS))
    for first in range(0, count, AT_ONCE):
        own = labels[first : first + AT_ONCE]
        features = centres[own + classes * rng.integers(0, 3, len(own))]
        features += rng.standard_normal(features.shape, dtype=np.float32)
        np.maximum(features, 0, out=features)
        out[first : first + len(own)] = features / np.linalg.norm(features, axis=1, keepdims=True)
    out.flush()


def _labels(count: int) -> np.ndarray:
    return np.random.default_rng(1).permutation(np.arange(count) % (count // OF_CLASS))


def _pool(file: Path) -> Pool:
    features = np.load(file, mmap_mode="r")
    labels = _labels(len(features))
    names = [str(index) for index in range(labels.max() + 1)]
    pixels = np.zeros((len(features), 1, 1, 1), dtype=np.uint8)
    return Pool(in_memory(pixels, labels, classes=names), _no_signals, lambda: features)


def _no_signals() -> Any:
    raise AssertionError("these methods look at features only")


def _measured(
    file: Path, size: int, *, method: str, balance: str = "equal", goal: dict[str, float] | None = None
) -> dict[str, Any]:
    pool = _pool(file)
    before, began, wall = _peak_mb(), time.process_time(), time.perf_counter()
    chosen = select_subset(pool, size, Strategy(method), balance=balance).indices
    cost = {
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - began, 1),
        "peak_mb": round(_peak_mb()),
        "peak_mb_before": round(before),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
    }
    own = {"method": method, "images": len(pool), "chosen": len(chosen), "balance": balance, **cost}
    return {**own, **({"goal": goal} if goal else {}), "mean_highest_cosine": _coverage(pool, chosen)}


def _coverage(pool: Pool, chosen: np.ndarray) -> float:
    """Mean over a sample of the images of the highest cosine with a chosen one (of any class)."""
    sample = np.sort(np.random.default_rng(2).choice(len(pool), min(len(pool), 10_000), replace=False))
    features, best = pool.take(sample).features, np.full(len(sample), -1, dtype=np.float32)
    for part in np.array_split(pool.take(chosen).features, max(1, len(chosen) // 1000)):
        np.maximum(best, np.dot(features, part.T).max(1), out=best)
    return round(float(best.mean(dtype=np.float64)), 6)


def _peak_mb() -> float:
    """The highest resident memory, pages of the file among it. Not maxrss, which begins with that of the parent."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


if __name__ == "__main__":
    main()
