"""Every way of choosing images, by the accuracy of what learns from them, against random images of equal classes.

    python benchmarks/selection_leaderboard.py DATA [--weights FILE] [--consumer scratch probe] [--examples 1000 ...]
        [--method NAME ...] [--seeds 0 1 2] [--split test] [--hours 2]
    python benchmarks/selection_leaderboard.py --table
    python benchmarks/selection_leaderboard.py --page docs/leaderboard.md

DATA is anything that `shoestring run` takes, as a folder of Parquet files. `scratch` trains a small
network on the chosen images, `probe` (needs --weights) a linear classifier on what a frozen network sees in them; see
leaderboard_learners.py. Rows are added to results/selection_leaderboard.json one by one: the board can be stopped and
gone on with. All methods come with the first seed before any comes with the second, and random images come first.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from leaderboard_learners import SEEN, Probe, Scratch, material
from leaderboard_tables import tables
from machine import machine
from measured import RESULTS, Row, Rows, fill
from shoestring.config import registry
from shoestring.selection import Pool, Strategy, select_subset

BOARD = RESULTS / "selection_leaderboard.json"
CACHE = Path(tempfile.gettempdir()) / "shoestring-leaderboard"
KEY = ("consumer", "method", "examples", "seed", "split")


class Method(NamedTuple):
    """A registered strategy, its options, and the part of the images by difficulty that it sees."""

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
    """Random images, then every other registered method as it comes, then the variants."""
    names = registry.names("select")
    names.sort(key=lambda name: name != "random")
    return [*(Method(name, name) for name in names), *VARIANTS]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("--consumer", nargs="+", choices=("scratch", "probe"), default=["scratch", "probe"])
    parser.add_argument("--weights", help="of timm's mobilenetv2_100 (.safetensors), for the probe")
    parser.add_argument("--examples", nargs="+", type=int, default=[1000, 100, 500, 5000], choices=SEEN)
    parser.add_argument("--method", nargs="+", help="labels of methods (all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--split", choices=("validation", "test"), default="test")
    parser.add_argument("--hours", type=float, default=float("inf"), help="start no further row after so long")
    parser.add_argument("--again", action="store_true", help="measure anew what has been measured")
    parser.add_argument("--cache", type=Path, default=CACHE, help="folder for what rows share: signals and features")
    parser.add_argument("--results", type=Path, default=BOARD)
    parser.add_argument("--samples", type=int, help="images seen in a training and by the proxy, to try this script")
    parser.add_argument("--table", action="store_true", help="print the tables of what has been measured")
    parser.add_argument("--page", type=Path, help="write the tables into this page")
    given = parser.parse_args()
    rows = Rows(given.results.resolve(), KEY)
    if given.table:
        print(tables(rows.read(), given.split))
    elif given.page:
        fill(given.page, leaderboard=tables(rows.read(), given.split))
    elif given.data is None:
        parser.error("DATA is needed to measure")
    elif given.samples and given.results == BOARD:
        parser.error("rows of --samples go elsewhere: give --results")
    elif "probe" in given.consumer and not given.weights:
        parser.error("the probe needs --weights")
    else:
        run(given, rows)


def run(given: argparse.Namespace, rows: Rows) -> None:
    """Measure one wanted row after the other, and keep each at once."""
    ends = time.monotonic() + 3600 * given.hours
    given.cache.mkdir(parents=True, exist_ok=True)
    images = material(given.data, given.split)
    makers = {
        "scratch": lambda: Scratch(images, given.cache, given.samples),
        "probe": lambda: Probe(images, given.cache, Path(given.weights)),
    }
    learners = {name: makers[name]() for name in given.consumer}
    for consumer, method, examples, seed in wanted(given):
        row: Row = {"consumer": consumer, "method": method.label, "examples": examples, "seed": seed}
        row |= {"split": given.split, "data": images.name}
        if not given.again and rows.have(row):
            continue
        if time.monotonic() > ends:
            break
        row |= measured(learners[consumer], method, examples, seed)
        rows.put(row)
        print(consumer, method.label, examples, seed, row.get("accuracy", row.get("error")), flush=True)


def wanted(given: argparse.Namespace) -> Iterator[tuple[str, Method, int, int]]:
    """What to measure, in an order in which comparisons mean something early."""
    chosen = [one for one in methods() if not given.method or one.label in given.method]
    for seed in given.seeds:
        for examples in given.examples:
            for consumer in given.consumer:
                for method in chosen:
                    yield consumer, method, examples, seed


def measured(learner: Scratch | Probe, method: Method, examples: int, seed: int) -> Row:
    """One choice, learnt from and scored; what goes wrong is the result of this row and stops no other."""
    row: Row = {"strategy": method.strategy, "options": method.options, "within": method.within}
    row |= {"pool": len(learner.pool), "threads": torch.get_num_threads(), "machine": machine()}
    spent: dict[str, float] = {}
    try:
        learner.check(method.strategy)
        pool = Pool(learner.pool, lambda: clocked(spent, "signals", learner.signals, seed))
        strategy = Strategy(method.strategy, method.options, method.within)
        subset = clocked(spent, "select", lambda: select_subset(pool, examples, strategy, seed=seed))
        row |= clocked(spent, "learn", learner.learn, subset.indices, seed)
    except Exception as error:
        row["error"] = f"{type(error).__name__}: {error}"[:300]
    spent["select"] = spent.get("select", 0.0) - spent.get("signals", 0.0)  # they are asked for on the way
    return row | {"cpu_seconds": {name: round(seconds, 2) for name, seconds in spent.items()}}


def clocked(spent: dict[str, float], name: str, work: Any, *arguments: Any) -> Any:
    """The result of the work, its processor seconds noted, those of all threads together."""
    before = time.process_time()
    try:
        return work(*arguments)
    finally:
        spent[name] = time.process_time() - before


if __name__ == "__main__":
    main()
