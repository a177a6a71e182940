"""Accuracy of models trained on the subset of every selection method, compared with balanced random subsets.

    python benchmarks/selection_leaderboard.py DATA [--weights FILE] [--consumer scratch probe] [--examples 1000 ...]
        [--method NAME ...] [--seeds 0 1 2] [--split test] [--hours 2]
    python benchmarks/selection_leaderboard.py --table
    python benchmarks/selection_leaderboard.py --page docs/leaderboard.md

DATA is any data set that `shoestring run` accepts, such as a folder of Parquet files. `scratch` trains a small network
on the subset, `probe` (needs --weights) a linear classifier on the features of a frozen network; see
leaderboard_learners.py. Each row is saved to results/selection_leaderboard.json at once, so the benchmark can be
interrupted and resumed. All methods run with one seed before the next, random selection first.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from leaderboard_learners import SAMPLES, Probe, Scratch, material
from leaderboard_tables import tables
from machine import machine
from measured import RESULTS, Row, Rows, fill
from shoestring.config import registry
from shoestring.selection import Pool, Strategy, select_subset

BOARD = RESULTS / "selection_leaderboard.json"
CACHE = Path(tempfile.gettempdir()) / "shoestring-leaderboard"
KEY = ("consumer", "method", "examples", "seed", "split")


class Method(NamedTuple):
    """A registered strategy, its options, and the difficulty range of the images that it selects from."""

    label: str
    strategy: str
    options: dict[str, Any] = {}
    within: str | None = None


VARIANTS = (
    Method("margin, hardest", "margin", {"order": "hardest"}),
    Method("margin, among 2", "margin", {"among": 2.0}),
    Method("margin, among 5", "margin", {"among": 5.0}),
    Method("forgetting, hardest", "forgetting", {"order": "hardest"}),
    Method("el2n, hardest", "el2n", {"order": "hardest"}),
    Method("prototypes, hardest", "prototypes", {"order": "hardest"}),
    Method("d2, hardest", "d2", {"order": "hardest"}),
    Method("dual, lowest", "dual", {"order": "lowest"}),
    Method("k_center, outliers 0.1", "k_center", {"outliers": 0.1}),
    Method("representative, diversity 0.5", "representative", {"diversity": 0.5}),
    Method("random, easiest 0.1", "random", within="easiest:0.1"),
    Method("random, easiest 0.2", "random", within="easiest:0.2"),
    Method("random, easiest 0.5", "random", within="easiest:0.5"),
    Method("facility_location, easiest 0.2", "facility_location", within="easiest:0.2"),
    Method("facility_location, easiest 0.5", "facility_location", within="easiest:0.5"),
    Method("facility_location, easiest 0.8", "facility_location", within="easiest:0.8"),
)


def methods() -> list[Method]:
    """Return random selection, then every other registered method with its defaults, then the variants."""
    names = registry.names("select")
    names.sort(key=lambda name: name != "random")
    return [*(Method(name, name) for name in names), *VARIANTS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--consumer", nargs="+", choices=("scratch", "probe"), default=["scratch", "probe"])
    parser.add_argument("--weights", help="weights of timm's mobilenetv2_100 (.safetensors), for the probe")
    parser.add_argument("--examples", nargs="+", type=int, default=[1000, 100, 500, 5000], choices=SAMPLES)
    parser.add_argument("--method", nargs="+", help="labels of methods (all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--hours", type=float, default=float("inf"), help="start no further row after this time")
    parser.add_argument("--again", action="store_true", help="measure existing rows again")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for signals and features that rows share")
    parser.add_argument("--results", type=Path, default=BOARD)
    parser.add_argument("--samples", type=int, help="samples per training and for the proxy, to try this script")
    parser.add_argument("--table", action="store_true", help="print the tables")
    parser.add_argument("--page", type=Path, help="write the tables into this page")
    args = parser.parse_args()
    rows = Rows(args.results.resolve(), KEY)
    if args.table:
        print(tables(rows.read(), args.split))
    elif args.page:
        fill(args.page, leaderboard=tables(rows.read(), args.split))
    elif args.data is None:
        parser.error("DATA is needed to measure")
    elif args.samples and args.results == BOARD:
        parser.error("--samples needs --results")
    elif "probe" in args.consumer and not args.weights:
        parser.error("the probe needs --weights")
    else:
        run(args, rows)


def run(args: argparse.Namespace, rows: Rows) -> None:
    """Measure the requested rows; save each at once."""
    end = time.monotonic() + 3600 * args.hours
    args.cache.mkdir(parents=True, exist_ok=True)
    images = material(args.data, args.split)
    factories = {
        "scratch": lambda: Scratch(images, args.cache, args.samples),
        "probe": lambda: Probe(images, args.cache, Path(args.weights)),
    }
    learners = {name: factories[name]() for name in args.consumer}
    for consumer, method, examples, seed in requested(args):
        row: Row = {"consumer": consumer, "method": method.label, "examples": examples, "seed": seed}
        row |= {"split": args.split, "data": images.name}
        if not args.again and rows.have(row):
            continue
        if time.monotonic() > end:
            break
        row |= measure(learners[consumer], method, examples, seed)
        rows.put(row)
        print(consumer, method.label, examples, seed, row.get("accuracy", row.get("error")), flush=True)


def requested(args: argparse.Namespace) -> Iterator[tuple[str, Method, int, int]]:
    """Yield what to measure, in an order that allows comparisons early."""
    selected = [one for one in methods() if not args.method or one.label in args.method]
    for seed in args.seeds:
        for examples in args.examples:
            for consumer in args.consumer:
                for method in selected:
                    yield consumer, method, examples, seed


def measure(learner: Scratch | Probe, method: Method, examples: int, seed: int) -> Row:
    """Select, train and evaluate once; an error becomes the result of this row and does not stop the others."""
    row: Row = {"strategy": method.strategy, "options": method.options, "within": method.within}
    row |= {"pool": len(learner.pool), "threads": torch.get_num_threads(), "machine": machine()}
    spent: dict[str, float] = {}
    try:
        learner.check(method.strategy)
        pool = Pool(learner.pool, lambda: timed(spent, "signals", learner.signals, seed))
        strategy = Strategy(method.strategy, method.options, method.within)
        subset = timed(spent, "select", lambda: select_subset(pool, examples, strategy, seed=seed))
        row |= timed(spent, "learn", learner.learn, subset.indices, seed)
    except Exception as error:
        row["error"] = f"{type(error).__name__}: {error}"[:300]
    spent["select"] = spent.get("select", 0.0) - spent.get("signals", 0.0)  # signals are computed during selection
    return row | {"cpu_seconds": {name: round(seconds, 2) for name, seconds in spent.items()}}


def timed(spent: dict[str, float], name: str, work: Any, *arguments: Any) -> Any:
    """Return the result of `work` and record its CPU seconds, summed over all threads."""
    before = time.process_time()
    try:
        return work(*arguments)
    finally:
        spent[name] = time.process_time() - before


if __name__ == "__main__":
    main()
