"""Errors that users can fix; the command line prints them on one line and sets an exit code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import partial

from shoestring.suggestions import nearest

_use_flags = ContextVar("use_flags", default=False)
# a flag, optionally with a value: a number or quantity, `easiest:0.2`, or a placeholder such as FILE
_FLAG = re.compile(
    r"(?<![\w/.-])--(no-)?([a-z][a-z0-9]*(?:-[a-z0-9]+)*)"
    r"(?: (\d[\w.,@:+]*\w|\d|[a-z]+[:=][\w.,:=@]*\w|[A-Z]+\b))?"
)


@contextmanager
def messages_with_flags() -> Iterator[None]:
    """Inside the block, messages mention flags, as they are written; elsewhere, arguments of functions."""
    token = _use_flags.set(True)
    try:
        yield
    finally:
        _use_flags.reset(token)


def with_arguments(text: str) -> str:
    """Rewrite the flags in a message (`--batch-size 2`) as arguments (`batch_size=2`)."""
    return _FLAG.sub(_argument, text)


def _argument(flag: re.Match[str]) -> str:
    negated, name, value = flag[1], flag[2].replace("-", "_"), flag[3]
    if value is None:
        return f"{name}=False" if negated else name
    plain = re.fullmatch(r"\d+(\.\d+)?(e[+-]?\d+)?|[A-Z]+", value)
    return f"{name}={value}" if plain else f'{name}="{value}"'


class UserError(ValueError):
    """An error that the user can fix: what happened, what was expected, how to fix it. Exit code 2.

    Messages are written with flags; `str` of an error shows arguments instead, except in `messages_with_flags`.
    """

    def __str__(self) -> str:
        text = super().__str__()
        return text if _use_flags.get() else with_arguments(text)


class BudgetTooSmall(UserError):
    """The budget is too small for the work; `least` is the smallest one that works. Exit code 3."""

    def __init__(self, message: str, *, least: float) -> None:
        super().__init__(message)
        self.least = least

    def __reduce__(self) -> tuple[Callable[..., BudgetTooSmall], tuple[str]]:
        return partial(BudgetTooSmall, least=self.least), (self.args[0],)


def unknown(kind: str, name: str, known: Iterable[str], *, hint: str = "", near: str | None = None) -> UserError:
    """Return the error for an unknown name, with a suggestion: `near`, or the nearest of the known names."""
    names = sorted(known)
    near = near or nearest(name, names)
    guess = f" Did you mean '{near}'?" if near else ""
    return UserError(f"unknown {kind} {quoted(name)}.{guess} Known: {', '.join(names)}.{' ' + hint if hint else ''}")


def no_option(owner: str, name: str, known: Iterable[str]) -> UserError:
    """Return the error for an option that a method, the `owner`, does not have, with a suggestion."""
    names = sorted(known)
    if not names:
        return UserError(f"{owner} has no options, but {quoted(name)} was given.")
    near = nearest(name, names)
    guess = f" Did you mean '{near}'?" if near else ""
    return UserError(f"{owner} has no option {quoted(name)}.{guess} Known: {', '.join(names)}.")


def quoted(value: object) -> str:
    """Return a value in quotation marks, shortened so that the message stays readable."""
    try:
        text = str(value)
    except RecursionError:
        text = type(value).__name__
    return f"'{text}'" if len(text) <= _MAX_LENGTH else f"'{text[: _MAX_LENGTH - 3]}...'"


_MAX_LENGTH = 120  # characters of a value in a message
