"""The small costs: `--help`, opening cached images, torch's compiler, and the share of training for making batches.

    python benchmarks/small_costs.py DATA

writes results/small_costs.json. The images of DATA are cached first when they are not yet.
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
    around = machine()
    subprocess.run([sys.executable, "-c", _LOAD, source], check=True, capture_output=True)
    found = {
        "help_seconds": _quartiles([_help() for _ in range(20)]),
        "cached_load_seconds": _quartiles([_load(source) for _ in range(10)]),
        "compiler_seconds": _quartiles([_imported("torch, torch._dynamo") - _imported("torch") for _ in range(7)]),
        "input_share": _input_share(source),
        "data": Path(source).name,
        "machine": around,
    }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(found, indent=1) + "\n")
    print(json.dumps(found, indent=1))


def _help() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-m", "shoestring", "--help"], check=True, capture_output=True)
    return time.monotonic() - began


def _load(source: str) -> float:
    """Seconds in a fresh process, the import of shoestring.data included."""
    done = subprocess.run([sys.executable, "-c", _LOAD, source], check=True, capture_output=True, text=True)
    return float(done.stdout)


def _imported(names: str) -> float:
    """Seconds of a process that imports these."""
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", f"import {names}"], check=True, capture_output=True)
    return time.monotonic() - began


def _input_share(source: str) -> dict[str, float]:
    """Seconds of drawing batches over seconds of whole training steps, over 40 steps of the default network."""
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
        start = time.monotonic()
        batch = draw(*args, **kwargs)
        spent += time.monotonic() - start
        return batch

    images = load(source).train
    prepared = context.prepare()
    settings = Train(model="convnet", width=0.5, precision="bfloat16")
    model = build_network(Network("convnet", {"width": 0.5}), images, settings, seed=prepared.seed)
    budget = Budget(epochs=40 * 500 / len(images), steps=("train",))
    allotment = allotment_of(budget, "train", count=len(images))
    plan = plan_training(model, images, settings, allotment, Profiler(budget, prepared))
    Batches.draw = timed
    began = time.monotonic()
    fit(model, images, budget.window("train"), plan, prepared)
    total = time.monotonic() - began
    Batches.draw = draw
    return {"drawing_seconds": round(spent, 3), "training_seconds": round(total, 3), "share": round(spent / total, 4)}


def _quartiles(values: list[float]) -> dict[str, float]:
    low, middle, high = statistics.quantiles(values, n=4)
    return {"median": round(middle, 3), "quartiles": [round(low, 3), round(high, 3)], "largest": round(max(values), 3)}


if __name__ == "__main__":
    main()
