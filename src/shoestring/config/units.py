"""Durations, quantities and sizes as users write them: 5m, 200k, 0.5.

Each value remembers the text that it was parsed from, which is what recipes and run folders hold.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shoestring.errors import UserError

_SECONDS = {"ms": 1e-3, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_MIN_COUNT = 1000  # no network has fewer parameters: a smaller number is a mistake
_SCIENTIFIC = r"\s*\d+(?:\.\d*)?[eE][+-]?\d+\s*"  # as Python writes 1e-05
_SCALES = {"": 1.0, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18}


def parse_seconds(text: str | float) -> float:
    """Parse '90', '90s', '5m', '1h30m' or a number into seconds. Raises `UserError` for anything else."""
    if re.fullmatch(_SCIENTIFIC, str(text)) or isinstance(text, int | float):
        value = float(text)
    else:
        compact = str(text).strip().replace(" ", "")
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
    if isinstance(text, float) and text > 0 and math.isfinite(text):
        return float(text)
    match = re.fullmatch(r"\s*(\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)\s*([kMGTPE]?)\s*", str(text))
    value = float(match[1]) * _SCALES[match[2]] if match else 0.0
    if not (value > 0 and math.isfinite(value)):
        raise UserError(f"'{text}' is not a {what}. Write a number above zero, optionally followed by k, M, G, T or P.")
    return value


class _Parsed:
    """A value that remembers the text it was parsed from."""

    def __init__(self, given: Any) -> None:
        self.text = str(given)

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> Any:
        return type(self), (self.text,)


class Duration(_Parsed, float):
    """Seconds, parsed from '90s', '5m' or '1h30m'."""

    def __new__(cls, given: Any) -> Duration:  # noqa: D102
        return super().__new__(cls, parse_seconds(given))


class Flops(_Parsed, float):
    """Floating-point operations, parsed from '3e15' or '3P'."""

    def __new__(cls, given: Any) -> Flops:  # noqa: D102
        return super().__new__(cls, parse_quantity(given, what="number of flops"))


class Bytes(_Parsed, float):
    """Bytes of memory, parsed from '2GB' or '2G'."""

    def __new__(cls, given: Any) -> Bytes:  # noqa: D102
        if isinstance(given, str):
            given = re.sub("[bB]$", "", given.strip())
        return super().__new__(cls, parse_quantity(given, what="memory size"))


class Fractions(_Parsed, tuple[float, ...]):
    """Fractions from 0 to 1, parsed from '0.5,1'."""

    def __new__(cls, given: Any) -> Fractions:  # noqa: D102
        try:
            numbers = [float(part) for part in str(given).split(",")]
        except ValueError:
            numbers = []
        if not numbers or not all(0 <= fraction <= 1 for fraction in numbers):
            raise UserError(f"--strength takes fractions from 0 to 1, such as 0.5,1 or 1,1,0, not '{given}'.")
        return super().__new__(cls, numbers)


@dataclass(frozen=True)
class Size:
    """A target size: a fraction of the original (0.5), or a count (20M, 200k)."""

    value: float
    is_fraction: bool
    text: str = field(compare=False)

    @classmethod
    def parse(cls, given: Size | str | float, *, what: str) -> Size:
        """Parse a target for `what`. Raises `UserError` for what is neither a fraction nor a count, such as 1.5."""
        if isinstance(given, Size):
            return given
        text = str(given).strip()
        plain = text[-1:].isdigit() or text.endswith(".")
        try:
            value = parse_quantity(text)
        except UserError:
            value = 0.0
        if not value or (plain and 1 < value < _MIN_COUNT):
            raise UserError(
                f"'{given}' is not a size for {what}: write a fraction up to 1 (0.5 for half) or a count from "
                f"{_MIN_COUNT:,} on (200k, 20M)."
            )
        return cls(value, plain and value <= 1, str(given))

    @classmethod
    def parse_bytes(cls, given: Size | str | float, *, what: str) -> Size:
        """Parse a target in bytes: 300kB, 1.5MB, or a fraction. Raises `UserError` for anything else."""
        if isinstance(given, Size):
            return given
        text = str(given).strip()
        try:
            return replace(cls.parse(re.sub("(?<=[0-9kMG])[bB]$", "", text), what=what), text=text)
        except UserError:
            raise UserError(
                f"'{given}' is not a size for {what}: write a fraction up to 1 (0.5 for half) or bytes (300kB, 2MB)."
            ) from None

    def of(self, total: float) -> float:
        """The target of a network whose size is `total`."""
        return self.value * total if self.is_fraction else self.value

    def __str__(self) -> str:
        return self.text


def format_seconds(amount: float) -> str:
    """Format seconds for display: 8.3 s, 4:51, 1:02:09."""
    if amount < 59.95:
        return f"{amount:.1f} s"
    whole = round(amount)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def format_percent(fraction: float | None) -> str:
    """Format 0.9157 as "91.6 %"; None, which is undefined, as a dash."""
    return "-" if fraction is None else f"{100 * fraction:.1f} %"


def format_interval(interval: Sequence[float] | None) -> str:
    """Format (0.9, 0.93) as "90.0 % to 93.0 %"; None as a dash."""
    if interval is None:
        return "-"
    low, high = interval
    return f"{format_percent(low)} to {format_percent(high)}"


def format_milliseconds(amount: float) -> str:
    """Format milliseconds for display: 0.21 ms, 3.4 ms, 120 ms."""
    return f"{amount:.0f} ms" if amount >= 99.5 else f"{amount:.2g} ms"
