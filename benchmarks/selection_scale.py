"""Selection from features larger than memory: 1,281,167 images, 768 half-precision features each, in a file.

    python benchmarks/selection_scale.py FOLDER [--fraction 0.1] [CASE ...]

generates the features in FOLDER (2 GB; free space is checked) and removes them at the end. Each case runs in its own
process, so that the operating system reports its peak memory, and is saved to results/selection_scale.json when it is
done. `--fraction` is the fraction of the images, classes and subset size that is used; cases already measured with it
run again only if they are named.
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
IMAGES, DIMENSIONS, PER_CLASS, SUBSET = 1_281_167, 768, 1281, 13_000
BLOCK = 20_000  # images generated at once

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
    parser.add_argument("--fraction", type=float, default=1.0)
    parser.add_argument("--alone", choices=CASES, help="run this case in this process and print its cost")
    args = parser.parse_args()
    count = round(args.fraction * IMAGES)
    file = args.folder / f"features-{count}.npy"
    if args.alone:
        print(json.dumps(_measure(file, round(args.fraction * SUBSET), **CASES[args.alone])))
        return
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    pending = args.cases or [name for name in CASES if results.get(name, {}).get("images") != count]
    if pending:
        _generate(file, count)
    try:
        for name in pending:
            command = [sys.executable, __file__, str(args.folder), "--fraction", str(args.fraction), "--alone", name]
            hardware = {"load_before": round(os.getloadavg()[0], 2)}
            done = subprocess.run(command, check=True, capture_output=True, text=True)
            results[name] = {**json.loads(done.stdout), "machine": {**machine(), **hardware}}
            RESULTS.write_text(json.dumps(results, indent=1) + "\n")
            print(name, results[name], flush=True)
    finally:
        file.unlink(missing_ok=True)


def _generate(file: Path, count: int) -> None:
    """Write features of three clusters per class in random order, of unit length up to rounding."""
    size = 2 * count * DIMENSIONS
    if shutil.disk_usage(file.parent).free < size + 1e9:
        raise SystemExit(f"{file.parent} needs {size / 1e9 + 1:.1f} GB of free space.")
    rng = np.random.default_rng(0)
    labels = _labels(count)
    classes = labels.max() + 1
    centers = rng.standard_normal((3 * classes, DIMENSIONS), dtype=np.float32)
    out = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=(count, DIMENSIONS))
    for first in range(0, count, BLOCK):
        own = labels[first : first + BLOCK]
        features = centers[own + classes * rng.integers(0, 3, len(own))]
        features += rng.standard_normal(features.shape, dtype=np.float32)
        np.maximum(features, 0, out=features)
        out[first : first + len(own)] = features / np.linalg.norm(features, axis=1, keepdims=True)
    out.flush()


def _labels(count: int) -> np.ndarray:
    return np.random.default_rng(1).permutation(np.arange(count) % (count // PER_CLASS))


def _pool(file: Path) -> Pool:
    features = np.load(file, mmap_mode="r")
    labels = _labels(len(features))
    names = [str(index) for index in range(labels.max() + 1)]
    pixels = np.zeros((len(features), 1, 1, 1), dtype=np.uint8)
    return Pool(in_memory(pixels, labels, classes=names), _no_signals, lambda: features)


def _no_signals() -> Any:
    raise AssertionError("these methods use features only")


def _measure(
    file: Path, size: int, *, method: str, balance: str = "equal", goal: dict[str, float] | None = None
) -> dict[str, Any]:
    pool = _pool(file)
    before, cpu, wall = _peak_mb(), time.process_time(), time.perf_counter()
    indices = select_subset(pool, size, Strategy(method), balance=balance).indices
    cost = {
        "seconds": round(time.perf_counter() - wall, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "peak_mb": round(_peak_mb()),
        "peak_mb_before": round(before),
        "threads": os.environ.get("OMP_NUM_THREADS", "all"),
    }
    own = {"method": method, "images": len(pool), "chosen": len(indices), "balance": balance, **cost}
    return {**own, **({"goal": goal} if goal else {}), "mean_highest_cosine": _coverage(pool, indices)}


def _coverage(pool: Pool, indices: np.ndarray) -> float:
    """Return the mean, over a sample of the images, of the highest cosine with a selected image of any class."""
    sample = np.sort(np.random.default_rng(2).choice(len(pool), min(len(pool), 10_000), replace=False))
    features, best = pool.take(sample).features, np.full(len(sample), -1, dtype=np.float32)
    for part in np.array_split(pool.take(indices).features, max(1, len(indices) // 1000)):
        np.maximum(best, np.dot(features, part.T).max(1), out=best)
    return round(float(best.mean(dtype=np.float64)), 6)


def _peak_mb() -> float:
    """Return the peak resident memory, with pages of the file; not maxrss, which starts at the parent's value."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) * 1024 / 1e6


if __name__ == "__main__":
    main()
