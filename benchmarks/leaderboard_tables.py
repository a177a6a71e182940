"""The leaderboard as Markdown: means over seeds with intervals, and paired differences from random selection."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
from scipy import stats

from intervals import half_interval
from measured import Row
from shoestring.config.recipe import Select
from shoestring.data.memory import in_memory
from shoestring.planning.selection_method import with_method

Cell = list[Row]  # the rows of one method and size, one per seed

CONTROL = "random"
MAIN_SIZE = 1000  # the size by which methods are sorted and compared
TITLES = {
    "scratch": "A small network trained from scratch",
    "probe": "A linear classifier on a frozen ImageNet network",
}
LEGEND = """\
Accuracy in %, mean over seeds with its 95 % t-interval, number of seeds in parentheses. `†`: one seed, and the
interval covers only the sampling of the test images. `=`: the same for every seed, because the method is deterministic.
`◂`: the method that `auto` selects. Differences are paired by seed, with their 95 % t-interval and the p-value of a
paired t-test, corrected for the number of methods (Holm)."""


class Difference(NamedTuple):
    """Mean paired difference of accuracies; its half interval and p need two seeds."""

    mean: float
    half: float | None = None
    p: float | None = None


def tables(rows: list[Row], split: str) -> str:
    """Return a table for each consumer, and the methods without a result."""
    rows = [row for row in rows if row["split"] == split]
    parts = []
    for consumer in TITLES:
        group = [row for row in rows if row["consumer"] == consumer]
        if any("accuracy" in row for row in group):
            parts += [f"## {TITLES[consumer]}", table(group), *missing_results(group)]
    return "\n\n".join([*parts, LEGEND] if parts else [])


def table(rows: list[Row]) -> str:
    """Return the table of one consumer: methods by size, best first."""
    rows = [row for row in rows if "accuracy" in row]
    sizes = sorted({row["examples"] for row in rows})
    main = MAIN_SIZE if MAIN_SIZE in sizes else sizes[-1]
    cells: dict[tuple[str, int], Cell] = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        cells.setdefault((row["method"], row["examples"]), []).append(row)
    labels = sorted({label for label, _ in cells}, key=lambda label: -mean(cells.get((label, main), [])))
    automatic = {size: automatic_method(rows[0]["consumer"], size, rows[0]["pool"]) for size in sizes}
    against = corrected({label: difference(cells.get((label, main)), cells.get((CONTROL, main))) for label in labels})

    lines = [f"| images | {' | '.join(f'{size:,}' for size in sizes)} | vs random at {main:,} |"]
    lines.append("|---" * (len(sizes) + 2) + "|")
    for label in labels:
        entries = [shown(cells.get((label, size)), automatic=automatic[size] == label) for size in sizes]
        lines.append(line([label, *entries, compared(against[label]) if label != CONTROL else ""], label == CONTROL))
    lines.append(line(["*best less `auto`*", *(behind(cells, size, automatic[size]) for size in sizes), ""]))
    return "\n".join(lines)


def automatic_method(consumer: str, examples: int, count: int) -> str:
    """Return the method that `auto` selects for this many of `count` labeled images."""
    images = in_memory(np.zeros((count, 1, 1), np.uint8), np.zeros(count, np.int64), classes=("any",))
    learner = {"scratch": "scratch", "probe": "features"}[consumer]
    return with_method(Select(examples=examples, learner=learner), images)[0].method  # type: ignore[arg-type]


def line(entries: Iterable[str], bold: bool = False) -> str:
    return "| " + " | ".join(f"**{entry}**" if bold and entry else entry for entry in entries) + " |"


def mean(cell: Cell) -> float:
    """Return the accuracy in %, or minus infinity if there is none."""
    return 100 * statistics.mean(row["accuracy"] for row in cell) if cell else -math.inf


def shown(cell: Cell | None, *, automatic: bool) -> str:
    """Return `77.1 ± 0.4 (3)`."""
    if not cell:
        return "-"
    values = [100 * row["accuracy"] for row in cell]
    mark = " ◂" if automatic else ""
    if len(values) == 1:
        return f"{values[0]:.1f} ± {_binomial_interval(cell[0]):.1f}†{mark}"
    if max(values) == min(values):
        return f"{values[0]:.1f} = ({len(values)}){mark}"
    return f"{statistics.mean(values):.1f} ± {half_interval(values):.1f} ({len(values)}){mark}"


def _binomial_interval(row: Row) -> float:
    """Return half the binomial 95 % interval in %."""
    return 196 * math.sqrt(row["accuracy"] * (1 - row["accuracy"]) / row["scored"])


def difference(cell: Cell | None, control: Cell | None) -> Difference | None:
    """Return the paired difference in %, over the seeds that both have."""
    control_by_seed = {row["seed"]: row["accuracy"] for row in control or []}
    values = [
        100 * (row["accuracy"] - control_by_seed[row["seed"]]) for row in cell or [] if row["seed"] in control_by_seed
    ]
    if len(values) < 2:
        return Difference(values[0]) if values else None
    if max(values) == min(values):  # only the control has no spread against itself
        return Difference(values[0], 0.0)
    return Difference(statistics.mean(values), half_interval(values), float(stats.ttest_1samp(values, 0).pvalue))


def corrected(differences: dict[str, Difference | None]) -> dict[str, Difference | None]:
    """Return the differences with p-values corrected by Holm's method."""
    tested = sorted((one.p, label) for label, one in differences.items() if one and one.p is not None)
    result, lower = dict(differences), 0.0
    for rank, (p, label) in enumerate(tested):
        lower = min(1.0, max(lower, p * (len(tested) - rank)))
        result[label] = differences[label]._replace(p=lower)  # type: ignore[union-attr]
    return result


def compared(one: Difference | None) -> str:
    if one is None:
        return "-"
    if one.half is None:
        return f"{one.mean:+.1f}"
    p = "" if one.p is None else ", p < 0.001" if one.p < 0.001 else f", p = {one.p:.3f}"
    return f"{one.mean:+.1f} ± {one.half:.1f}{p}"


def behind(cells: dict[tuple[str, int], Cell], size: int, automatic: str) -> str:
    """Return the best mean minus that of the method that `auto` selects."""
    if (automatic, size) not in cells:
        return "-"
    best = max(mean(cell) for (_, other), cell in cells.items() if other == size)
    return f"{best - mean(cells[automatic, size]):.1f}"


def missing_results(rows: list[Row]) -> list[str]:
    """Return the methods without a result, by reason."""
    reasons: dict[str, dict[str, set[int]]] = {}
    for row in rows:
        if "error" in row:
            reasons.setdefault(row["error"].partition(": ")[2], {}).setdefault(row["method"], set()).add(
                row["examples"]
            )
    lines = []
    for reason, methods in reasons.items():
        names = (f"`{name}` ({', '.join(f'{size:,}' for size in sorted(sizes))})" for name, sizes in methods.items())
        lines.append(f"No result for {', '.join(names)}: {reason}")
    return lines
