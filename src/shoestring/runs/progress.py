"""Callbacks that extend the progress reports of the steps of a run."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from shoestring.budget import Budget
from shoestring.runs.directory import RunDir

OnProgress = Callable[[str, float, dict[str, Any]], None]  # (step, fraction of it, values)


def with_run_fraction(on_progress: OnProgress, budget: Budget) -> OnProgress:
    """Add to the values `run`, the fraction of the whole budget that is spent, the `seconds`, and those `left`."""

    def update(name: str, fraction: float, values: dict[str, Any]) -> None:
        whole: dict[str, Any] = {"run": min(budget.spent / budget.total, 1.0), "seconds": budget.elapsed}
        if budget.unit == "seconds":
            whole["left"] = max(budget.total - budget.elapsed, 0.0)
        on_progress(name, fraction, {**values, **whole})

    return update


def with_history(on_progress: OnProgress, folder: RunDir, budget: Budget) -> OnProgress:
    """Also append progress to history.jsonl, with the seconds spent, once the run has started in the folder."""

    def update(name: str, fraction: float, values: dict[str, Any]) -> None:
        on_progress(name, fraction, values)
        if folder.started:  # before that, another process may be using it
            rounded = {key: _plain(value) for key, value in values.items()}
            folder.append_history(seconds=round(budget.elapsed, 3), step=name, fraction=round(fraction, 4), **rounded)

    return update


def _plain(value: Any) -> Any:
    """Return a value for JSON: floats rounded, None for those that JSON does not have."""
    if isinstance(value, float):
        return round(value, 5) if math.isfinite(value) else None
    return value


def across_runs(on_progress: OnProgress, number: int, count: int) -> OnProgress:
    """Convert the progress of run `number` (from 0) of `count` runs of the same length to that of all of them."""

    def update(name: str, fraction: float, values: dict[str, Any]) -> None:
        whole: dict[str, Any] = {"run": (number + values["run"]) / count} if "run" in values else {}
        if number:
            whole["baseline"] = True
        on_progress(name, fraction, {key: value for key, value in values.items() if key != "left"} | whole)

    return update
