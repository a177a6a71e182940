"""Traced operations: their names, and the registry of the rules that label their results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Rule = Callable[..., Any]


class UnsupportedOperation(Exception):
    """Raised by a rule that cannot label the result; the tracer then freezes the channels involved."""


class RuleRegistry:
    """Rules by operation name: `@rule("conv1d conv2d")` above a function registers it for these operations."""

    def __init__(self) -> None:
        self.by_name: dict[str, Rule] = {}

    def __call__(self, names: str) -> Callable[[Rule], Rule]:
        """Return a decorator that registers a function for these space-separated names."""

        def register(function: Rule) -> Rule:
            self.by_name |= dict.fromkeys(names.split(), function)
            return function

        return register


def operation_name(func: Any) -> str:
    """Return the name of a function, or of the attribute that a property getter reads."""
    name = getattr(func, "__name__", str(func))
    return getattr(func.__self__, "__name__", name) if name == "__get__" else name


def parameter_name(tensor: Any) -> str:
    """Return the name of a parameter or buffer. Raises `UnsupportedOperation` for a computed tensor."""
    name = getattr(tensor, "parameter_name", None)
    if name is None:
        raise UnsupportedOperation
    return name
