"""What a finished run contributes to an experiment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from shoestring.errors import UserError
from shoestring.runs.directory import RunDir
from shoestring.runs.finished import read_result

COSTS = ("macs", "params", "latency_ms", "seconds")


@dataclass(frozen=True)
class Outcome:
    """Accuracy from 0 to 1 with its 95 % interval, on so many images, trained on so many examples, and costs.

    A run that failed, or for which there was no time, has an `error` instead. `task` is that of its metrics, if it is
    not that of one class for each image.
    """

    accuracy: float | None = None
    interval: tuple[float, float] | None = None
    images: int = 0
    examples: int = 0
    costs: Mapping[str, float] = field(default_factory=dict)
    error: str = ""
    task: str | None = None


def read_outcome(folder: Path) -> Outcome | None:
    """Return the outcome of the run in a folder; None if it is not finished.

    Raises `UserError` if its results cannot be read.
    """
    run = RunDir(folder)
    if "result" not in run.run:
        return None
    result = read_result(run)
    with run.checking_results():
        return outcome_of(result)


def outcome_of(result: Mapping[str, Any]) -> Outcome:
    """Return the outcome of a run with these results."""
    if result["accuracy"] is None:
        return Outcome(error=f"there are no {result['split']} images to measure the accuracy on")
    low, high = result["interval"]
    costs = {name: result[name] for name in COSTS}
    accuracy, images, examples = (result[name] for name in ("accuracy", "images", "examples"))
    return Outcome(accuracy, (low, high), images, examples, costs, task=result.get("task"))


def failed(error: UserError) -> Outcome:
    """Return the outcome of a run that ended with an error."""
    return Outcome(error=str(error).rstrip("."))
