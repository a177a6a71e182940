"""Conversion and range checks of values from flags and files."""

from __future__ import annotations

import math
import os
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from shoestring.errors import UserError, quoted
from shoestring.suggestions import nearest


def coerce(value: Any, kind: Any, name: str) -> Any:
    """Convert a value to the type `kind` (possibly optional or a Literal). Raises `UserError` if it does not fit."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        inner = [k for k in typing.get_args(kind) if k is not type(None)]
        if value is None and len(inner) < len(typing.get_args(kind)):
            return None
        mappings = [k for k in inner if typing.get_origin(k) in MAPPINGS and isinstance(value, Mapping)]
        return coerce(value, [*mappings, *inner][0], name)
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            near = nearest(str(value), map(str, choices))
            guess = f" Did you mean '{near}'?" if near else ""
            raise UserError(f"{name} must be {_either(choices)}, not {quoted(value)}.{guess}")
        return value
    if typing.get_origin(kind) in MAPPINGS:
        if not isinstance(value, Mapping):
            raise UserError(f"{name} must be a mapping, not {quoted(value)}.")
        return dict(value)
    article = {int: "an ", str: ""}.get(kind, "a ")
    error = UserError(f"{name} must be {article}{_TYPE_NAMES[kind]}, not {quoted(value)}.")
    if value is None or (isinstance(value, bool) and kind is not bool):
        raise error
    try:
        return _PARSERS[kind](value)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise error from None


def check_range(
    value: Any,
    name: str,
    *,
    ge: float | None = None,
    le: float | None = None,
    gt: float | None = None,
    lt: float | None = None,
) -> Any:
    """Return the value. Raises `UserError` unless it is None, or finite, >= `ge`, <= `le`, > `gt` and < `lt`."""
    limits = [
        (ge, "at least", lambda limit: value >= limit),
        (gt, "above", lambda limit: value > limit),
        (le, "at most", lambda limit: value <= limit),
        (lt, "below", lambda limit: value < limit),
    ]
    active = [(limit, word, holds) for limit, word, holds in limits if limit is not None]
    if isinstance(value, float) and math.isinf(value):
        raise UserError(f"{name} must be finite, not {value}.")
    if value is None or all(holds(limit) for limit, _, holds in active):
        return value
    raise UserError(f"{name} must be {' and '.join(f'{word} {limit}' for limit, word, _ in active)}, not {value}.")


def _either(choices: Sequence[Any]) -> str:
    *others, last = map(str, choices)
    return f"{', '.join(others)} or {last}" if others else last


def _text(value: Any) -> str:
    """Convert text, a number (a file may be named 7) or a path."""
    if not isinstance(value, str | int | float | os.PathLike):
        raise TypeError
    text = str(value)
    if "\0" in text:  # not allowed in paths; the system would raise ValueError
        raise ValueError
    return text


MAPPINGS = (dict, Mapping)
_TYPE_NAMES = {bool: "truth value (true or false)", int: "integer", float: "number", str: "text"}
_PARSERS: dict[Any, Any] = {
    bool: lambda value: value if isinstance(value, bool) else {"true": True, "false": False}[str(value).lower()],
    int: lambda value: int(str(value).replace("_", "").replace(",", "")),
    float: float,
    str: _text,
}
