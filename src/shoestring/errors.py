"""The two things that can go wrong on the user's side; the command line turns them into one line and an exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user can mend: what happened, what was expected, how to mend it. Exit code 2."""


class BudgetTooSmall(UserError):
    """The work cannot be done inside the budget; `least` is the smallest one that works. Exit code 3."""

    def __init__(self, message: str, *, least: float) -> None:
        super().__init__(message)
        self.least = least


def unknown(kind: str, name: str, known: Iterable[str], *, hint: str = "") -> UserError:
    """The error for a name that does not exist, with the nearest one that does."""
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    guess = f" Did you mean '{near[0]}'?" if near else ""
    return UserError(f"unknown {kind} '{name}'.{guess} Known: {', '.join(names)}.{' ' + hint if hint else ''}")
