"""The two things that can go wrong on the user's side; the command line turns them into one line and an exit code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from shoestring.suggestions import nearest

_with_flags = ContextVar("with_flags", default=False)
# a flag, perhaps with a value: a number or quantity, `easiest:0.2`, or a placeholder such as FILE
_FLAG = re.compile(
    r"(?<![\w/.-])--(no-)?([a-z][a-z0-9]*(?:-[a-z0-9]+)*)"
    r"(?: (\d[\w.,@:+]*\w|\d|[a-z]+[:=][\w.,:=@]*\w|[A-Z]+\b))?"
)


@contextmanager
def messages_with_flags() -> Iterator[None]:
    """In this block messages speak of flags, as they are written; elsewhere of the arguments of functions."""
    token = _with_flags.set(True)
    try:
        yield
    finally:
        _with_flags.reset(token)


def with_arguments(text: str) -> str:
    """A message with flags (`--batch-size 2`) as one with arguments (`batch_size=2`)."""
    return _FLAG.sub(_argument, text)


def _argument(flag: re.Match[str]) -> str:
    negated, name, value = flag[1], flag[2].replace("-", "_"), flag[3]
    if value is None:
        return f"{name}=False" if negated else name
    plain = re.fullmatch(r"\d+(\.\d+)?(e[+-]?\d+)?|[A-Z]+", value)
    return f"{name}={value}" if plain else f'{name}="{value}"'


class UserError(ValueError):
    """Something the user can mend: what happened, what was expected, how to mend it. Exit code 2.

    Messages are written with flags; `str` of an error tells them as the user knows them (`messages_with_flags`).
    """

    def __str__(self) -> str:
        text = super().__str__()
        return text if _with_flags.get() else with_arguments(text)


class BudgetTooSmall(UserError):
    """The work cannot be done inside the budget; `least` is the smallest one that works. Exit code 3."""

    def __init__(self, message: str, *, least: float) -> None:
        super().__init__(message)
        self.least = least

    def __reduce__(self) -> tuple[Callable[..., BudgetTooSmall], tuple[str]]:
        return partial(BudgetTooSmall, least=self.least), (self.args[0],)


def unknown(kind: str, name: str, known: Iterable[str], *, hint: str = "", near: str | None = None) -> UserError:
    """The error for a name that does not exist, with the one that is meant: `near`, or the nearest of those known."""
    names = sorted(known)
    near = near or nearest(name, names)
    guess = f" Did you mean '{near}'?" if near else ""
    return UserError(f"unknown {kind} {quoted(name)}.{guess} Known: {', '.join(names)}.{' ' + hint if hint else ''}")


def quoted(value: object) -> str:
    """What somebody gave, in quotation marks, cut to a length that leaves the message readable."""
    try:
        text = str(value)
    except RecursionError:
        text = type(value).__name__
    return f"'{text}'" if len(text) <= _LONGEST else f"'{text[: _LONGEST - 3]}...'"


_LONGEST = 120  # characters of a value that a message repeats
