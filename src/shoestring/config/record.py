"""What run.json may hold: checked when it is read, so that nothing that reads from it has to."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from shoestring.errors import UserError

_MAPPINGS = ("recipe", "result", "data", "ledger", "surroundings", "training")
_LARGEST_SIDE = 100_000  # pixels
_SECTIONS = ("select", "train", "grow", "prune")


def checked(content: Any, file: Path) -> dict[str, Any]:
    """The content of a run.json; `UserError` that names what is wrong with it.

    Keys that are not known here are let through: they are of another version.
    """
    if wrong := _wrong(content):
        raise UserError(f"{file} is damaged, or not of a run: {wrong}.")
    return content


def _wrong(content: Any) -> str | None:
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
    if not is_amount(content.get("counted", 0)):
        return "'counted' is not a number of 0 or more"
    if not all(map(is_amount, content.get("ledger", {}).values())):
        return "'ledger' does not hold seconds"
    if not isinstance(content.get("views", ""), str):
        return "'views' is not text"
    if not isinstance(content.get("side", 1), int) or not 0 < content.get("side", 1) < _LARGEST_SIDE:
        return "'side' is not a number of pixels"
    return None


def is_amount(value: Any) -> bool:
    """Whether a value is a finite number of 0 or more."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
