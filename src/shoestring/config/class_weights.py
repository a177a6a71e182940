"""Class weights as users write them: none, balanced, or cat=2,dog=1."""

from __future__ import annotations

import math
from collections.abc import Mapping

from shoestring.errors import UserError, quoted, unknown

ClassWeights = str | Mapping[str, float]

BALANCED = "balanced"
_WORDS = {"none": None, BALANCED: BALANCED, "auto": BALANCED}


def parse_class_weights(given: ClassWeights) -> ClassWeights | None:
    """Return None for 'none', 'balanced' for that word or 'auto', and 'cat=2,dog=1' or a mapping as a mapping.

    Raises `UserError` for anything else, and for weights that are not above 0.
    """
    if not isinstance(given, str):
        return {str(name): _weight(str(name), value) for name, value in given.items()}
    if given in _WORDS:
        return _WORDS[given]
    if "=" not in given:
        raise unknown("class weights", given, _WORDS, hint="Or give weights of some classes: cat=2,dog=1.")
    weights: dict[str, float] = {}
    for entry in given.split(","):
        name, equals, value = (part.strip() for part in entry.rpartition("="))
        if not equals or not name or name in weights:
            raise UserError(f"'{entry.strip()}' in --class-weights is not a class with its weight. Write cat=2,dog=1.")
        weights[name] = _weight(name, value)
    return weights


def _weight(name: str, value: object) -> float:
    try:
        weight = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        weight = math.nan
    if not (weight > 0 and math.isfinite(weight)):
        raise UserError(f"the weight of the class '{name}' must be a number above 0, not {quoted(value)}.")
    return weight
