"""Fractions of channels to keep, as users write them: 0.5, or conv1=0.75,layer2=0.5."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from shoestring.errors import UserError, quoted

KeepChannels = float | Mapping[str, float]


def parse_keep_channels(given: Any) -> KeepChannels:
    """Return 0.5 for '0.5', and 'conv1=0.75,layer2=0.5' or a mapping as a mapping.

    Raises `UserError` for anything else, and for numbers that are not above 0 and at most 1.
    """
    if isinstance(given, Mapping):
        return {str(name): _fraction(value, given) for name, value in given.items()}
    if "=" not in str(given):
        return _fraction(given, given)
    fractions: dict[str, float] = {}
    for entry in str(given).split(","):
        name, _, value = (part.strip() for part in entry.rpartition("="))
        if not name or name in fractions:
            raise _invalid(given)
        fractions[name] = _fraction(value, given)
    return fractions


def _fraction(value: Any, whole: Any) -> float:
    try:
        fraction = math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        fraction = math.nan
    if not 0 < fraction <= 1:
        raise _invalid(whole)
    return fraction


def _invalid(given: Any) -> UserError:
    return UserError(
        f"{quoted(given)} is not a fraction of channels to keep: write a number above 0 and at most 1 for all layers "
        "(0.5), or numbers by layer (conv1=0.75,layer2=0.5)."
    )
