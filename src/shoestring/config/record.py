"""Validation of run.json when it is read, so that its readers need not check anything."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from shoestring.config.plan import run_plan
from shoestring.errors import UserError

_MAPPINGS = ("recipe", "result", "data", "ledger", "surroundings", "training")
_MAX_SIDE = 100_000  # pixels
_SECTIONS = ("select", "train", "grow", "prune", "tickets", "sweep")


def validated(content: Any, file: Path) -> dict[str, Any]:
    """Return the content of a run.json. Raises `UserError` that names what is wrong with it.

    Unknown keys are accepted: another version may have written them.
    """
    if problem := _problem(content):
        raise UserError(f"{file} is corrupted or is not a run.json file: {problem}.")
    return content


def _problem(content: Any) -> str | None:
    if not isinstance(content, dict):
        return "it is not a mapping"
    if "recipe" not in content:
        return "it has no recipe"
    for name in _MAPPINGS:
        if not isinstance(content.get(name, {}), dict):
            return f"'{name}' is not a mapping"
    for name in _SECTIONS:
        if not isinstance(content["recipe"].get(name, {}), dict):
            return f"'recipe.{name}' is not a mapping"
    data = content.get("data")
    if data is not None and not all(isinstance(data.get(key), str) for key in ("name", "fingerprint")):
        return "'data' has no name and fingerprint"
    if not is_nonnegative(content.get("counted", 0)):
        return "'counted' is not a number of 0 or more"
    if not all(map(is_nonnegative, content.get("ledger", {}).values())):
        return "'ledger' does not hold seconds"
    if not isinstance(content.get("views", ""), str):
        return "'views' is not text"
    if not _is_side(content.get("side", 1)):
        return "'side' is not a number of pixels"
    if "plan" in content:
        return _wrong_plan(content["plan"])
    return None


def _wrong_plan(plan: Any) -> str | None:
    if not isinstance(plan, dict) or not isinstance(plan.get("tta"), str) or not _is_side(plan.get("resolution")):
        return "'plan' is not the plan of a run"
    try:
        run_plan(plan)
    except UserError as error:
        return str(error).rstrip(".")
    return None


def _is_side(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < _MAX_SIDE


def is_nonnegative(value: Any) -> bool:
    """Return whether a value is a finite number of 0 or more."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
