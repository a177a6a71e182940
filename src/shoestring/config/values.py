"""Values from flags and files become what a field or an option wants."""

from __future__ import annotations

import math
import os
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal

from shoestring.errors import UserError, quoted, unknown


def coerce(value: Any, kind: Any, name: str) -> Any:
    """A value as the type `kind`, which may be a Literal or optional; `UserError` naming it when it does not fit."""
    if isinstance(kind, types.UnionType) or typing.get_origin(kind) is typing.Union:
        inner = [k for k in typing.get_args(kind) if k is not type(None)]
        if value is None and len(inner) < len(typing.get_args(kind)):
            return None
        mappings = [one for one in inner if typing.get_origin(one) in _MAPPINGS and isinstance(value, Mapping)]
        return coerce(value, [*mappings, *inner][0], name)
    if typing.get_origin(kind) is Literal:
        choices = typing.get_args(kind)
        if value not in choices:
            raise unknown(f"value of {name}", str(value), choices)
        return value
    if typing.get_origin(kind) in _MAPPINGS:
        if not isinstance(value, Mapping):
            raise UserError(f"{name} must be a mapping, not {quoted(value)}.")
        return dict(value)
    article = {int: "an ", str: ""}.get(kind, "a ")
    wrong = UserError(f"{name} must be {article}{_PLAIN[kind]}, not {quoted(value)}.")
    if value is None or (isinstance(value, bool) and kind is not bool):
        raise wrong
    try:
        return _PARSE[kind](value)
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise wrong from None


def limited(
    value: Any,
    name: str,
    *,
    least: float | None = None,
    most: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """The value, if it is finite and within the limits (`above` and `below` leave the limit itself out), or None."""
    limits = [
        (least, "at least", lambda limit: value >= limit),
        (above, "above", lambda limit: value > limit),
        (most, "at most", lambda limit: value <= limit),
        (below, "below", lambda limit: value < limit),
    ]
    set_here = [(limit, word, holds) for limit, word, holds in limits if limit is not None]
    if isinstance(value, float) and math.isinf(value):
        raise UserError(f"{name} must be finite, not {value}.")
    if value is None or all(holds(limit) for limit, _, holds in set_here):
        return value
    raise UserError(f"{name} must be {' and '.join(f'{word} {limit}' for limit, word, _ in set_here)}, not {value}.")


def _text(value: Any) -> str:
    """Text, also from a number (a file may be called 7) or a path."""
    if not isinstance(value, str | int | float | os.PathLike):
        raise TypeError
    text = str(value)
    if "\0" in text:  # no path has one, and the system would say so in a traceback
        raise ValueError
    return text


_MAPPINGS = (dict, Mapping)
_PLAIN = {bool: "truth value (true or false)", int: "integer", float: "number", str: "text"}
_PARSE: dict[Any, Any] = {
    bool: lambda value: value if isinstance(value, bool) else {"true": True, "false": False}[str(value).lower()],
    int: lambda value: int(str(value).replace("_", "").replace(",", "")),
    float: float,
    str: _text,
}
