"""Bisection: which of many changes break a module."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def find_failing(names: Sequence[str], passes: Callable[[list[str]], bool]) -> set[str]:
    """Return names to exclude so that all the others pass together."""
    names = list(names)
    if not names or passes(names):
        return set()
    if len(names) == 1:
        return set(names)
    middle = len(names) // 2
    failing = find_failing(names[:middle], passes) | find_failing(names[middle:], passes)
    rest = [name for name in names if name not in failing]
    if failing and (not rest or passes(rest)):
        return failing
    passing: list[str] = []  # some pass alone but not together: add them greedily
    for name in rest:
        if passes([*passing, name]):
            passing.append(name)
    return set(names) - set(passing)
