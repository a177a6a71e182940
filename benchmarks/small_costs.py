"""Small overheads: `--help`, opening cached images, importing torch's compiler, and the cost of data loading.

    python benchmarks/small_costs.py DATA

writes results/small_costs.json. The images of DATA are cached first if necessary.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

from machine import machine

RESULTS = Path(__file__).parent / "results" / "small_costs.json"
_LOAD = (
    "import sys, time; t = time.monotonic(); from shoestring.data import load; load(sys.argv[1]); "
    "print(time.monotonic() - t)"
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    source = parser.parse_args().data
    hardware = machine()
    subprocess.run([sys.executable, "-c", _LOAD, source], check=True, capture_output=True)
    results = {
        "help_seconds": _quartiles([_help() for _ in range(20)]),
        "cached_load_seconds": _quartiles([_load(source) for _ in range(10)]),
        "compiler_seconds": _quartiles([_import("torch, torch._dynamo") - _import("torch") for _ in range(7)]),
        "input_share": _input_fraction(source),
        "data": Path(source).name,
        "machine": hardware,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results, indent=1))


def _help() -> float:
    start = time.monotonic()
    subprocess.run([sys.executable, "-m", "shoestring", "--help"], check=True, capture_output=True)
    return time.monotonic() - start


def _load(source: str) -> float:
    """Return the seconds of loading in a new process, including the import of shoestring.data."""
    done = subprocess.run([sys.executable, "-c", _LOAD, source], check=True, capture_output=True, text=True)
    return float(done.stdout)


def _import(names: str) -> float:
    """Return the seconds of a process that imports these modules."""
    start = time.monotonic()
    subprocess.run([sys.executable, "-c", f"import {names}"], check=True, capture_output=True)
    return time.monotonic() - start


def _input_fraction(source: str) -> dict[str, float]:
    """Return the fraction of time spent on drawing batches, over 40 training steps of the default network."""
    from shoestring import Budget, load
    from shoestring.config.recipe import Train
    from shoestring.data.batches import Batches
    from shoestring.planning.model import Network, build_network
    from shoestring.planning.plan import allotment_of, plan_training
    from shoestring.planning.profiling import Profiler
    from shoestring.runtime import context
    from shoestring.training.loop import fit

    spent = 0.0
    draw = Batches.draw

    def timed(*args, **kwargs):
        nonlocal spent
        before = time.monotonic()
        batch = draw(*args, **kwargs)
        spent += time.monotonic() - before
        return batch

    images = load(source).train
    prepared = context.prepare()
    settings = Train(model="convnet", width=0.5, precision="bfloat16")
    model = build_network(Network("convnet", {"width": 0.5}), images, settings, seed=prepared.seed)
    budget = Budget(epochs=40 * 500 / len(images), steps=("train",))
    allotment = allotment_of(budget, "train", count=len(images))
    plan = plan_training(model, images, settings, allotment, Profiler(budget, prepared))
    Batches.draw = timed
    start = time.monotonic()
    fit(model, images, budget.window("train"), plan, prepared)
    total = time.monotonic() - start
    Batches.draw = draw
    return {"drawing_seconds": round(spent, 3), "training_seconds": round(total, 3), "share": round(spent / total, 4)}


def _quartiles(values: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)], "largest": round(max(values), 3)}


if __name__ == "__main__":
    main()
