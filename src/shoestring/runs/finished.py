"""The results of a finished run, and whether it met its deadline."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shoestring.errors import UserError
from shoestring.runs.directory import RunDir

if TYPE_CHECKING:
    from shoestring.runs.session import Run


def read_result(folder: RunDir) -> dict[str, Any]:
    """Return the results of a finished run that has a network. Raises `UserError` for any other folder."""
    if not folder.run:
        raise UserError(f"{folder.path} is not a run folder (it has no run.json).")
    result = folder.run.get("result")
    if result is None:
        raise UserError(f"{folder.path} is not a finished run: repeat the command that started it to finish it.")
    if "summary" in result:
        raise UserError(f"{folder.path} is a lottery ticket experiment, not a run.")
    if "accuracy" not in result:
        raise UserError(f"{folder.path} is a selection, without a network to report on.")
    return result


def add_lateness(run: Run, result: dict[str, Any]) -> None:
    """Add `late_seconds` to the results, and a warning if the deadline was missed.

    Call it after all work in the budget except for writing the last files.
    """
    result["late_seconds"] = late = round(max(run.lateness, 0.0), 2)
    if late:
        result.setdefault("warnings", []).append(f"the deadline of {run.budget.total:g} s was missed by {late:g} s")
