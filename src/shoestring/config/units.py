"""Durations, quantities and sizes as users write them: 5m, 200k, 0.5."""

from __future__ import annotations

import math
import re

from shoestring.errors import UserError

_SECONDS = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_MIN_COUNT = 1000  # no network has fewer parameters: a smaller number is a mistake
_SCALES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}


def parse_seconds(text: str | float) -> float:
    """Parse '90', '90s', '5m', '1h30m' or a number into seconds. Raises `UserError` for anything else."""
    if isinstance(text, int | float):
        value = float(text)
    else:
        compact = text.strip().replace(" ", "")
        parts = re.findall(r"(\d+(?:\.\d+)?)([a-z]*)", compact)
        if (
            not parts
            or "".join(number + unit for number, unit in parts) != compact
            or (len(parts) > 1 and not parts[-1][1])
        ):
            raise UserError(f"'{text}' is not a time. Write 90s, 5m, 1h30m or a number of seconds.")
        unknown_units = [unit for _, unit in parts if unit and unit not in _SECONDS]
        if unknown_units:
            raise UserError(f"'{text}' is not a time: unknown unit '{unknown_units[0]}'. Units are ms, s, m, h and d.")
        value = sum(float(number) * _SECONDS[unit or "s"] for number, unit in parts)
    if not (value > 0 and math.isfinite(value)):
        raise UserError(f"a time must be above zero, not '{text}'.")
    return value


def parse_quantity(text: str | float, *, what: str = "number") -> float:
    """Parse '200k', '12M', '3e15', '0.5' or a number. Raises `UserError` for anything else, and unless above zero."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)\s*([kMGTPE]?)\s*", str(text))
    value = float(match[1]) * _SCALES[match[2]] if match else 0.0
    if not (value > 0 and math.isfinite(value)):
        raise UserError(f"'{text}' is not a {what}. Write a number above zero, optionally followed by k, M, G, T or P.")
    return value


def parse_size(text: str | float, *, what: str) -> tuple[float, bool]:
    """Parse a target size into a number, and whether it is a fraction of the original (0.5) or a count (20M, 200k).

    Raises `UserError` for anything else, such as 1.5 or 50, which are neither.
    """
    value = parse_quantity(text, what=f"size for {what}")
    plain = str(text).strip()[-1:].isdigit() or str(text).strip().endswith(".")
    if plain and 1 < value < _MIN_COUNT:
        raise UserError(
            f"'{text}' is not a size for {what}: write a fraction up to 1 (0.5 for half) or a count (200k, 20M)."
        )
    return value, plain and value <= 1


def format_seconds(amount: float) -> str:
    """Format seconds for display: 8.3 s, 4:51, 1:02:09."""
    if amount < 59.95:
        return f"{amount:.1f} s"
    whole = round(amount)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
