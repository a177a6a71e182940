"""Numbers of clusters of similar filters, as users write them: 3, conv1=8,layer2=16, error=0.1, or auto."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shoestring.errors import UserError, quoted

AUTO, ERROR = "auto", "error"


@dataclass(frozen=True)
class Clusters:
    """Clusters in every layer (`everywhere`), or `by_layer`, or as few as keep the error of all layers to `error`.

    None of them means as many as a target size allows.
    """

    everywhere: int | None = None
    by_layer: Mapping[str, int] = field(default_factory=dict)
    error: float | None = None
    text: str = field(default=AUTO, compare=False)

    @property
    def is_auto(self) -> bool:
        """Whether the numbers follow from a target size."""
        return self.everywhere is None and not self.by_layer and self.error is None

    @classmethod
    def parse(cls, given: Any) -> Clusters:
        """Parse 3, '3', 'conv1=8,layer2=16', 'error=0.1', such a mapping, or 'auto'. Raises `UserError` otherwise."""
        if isinstance(given, Clusters):
            return given
        if isinstance(given, Mapping):
            given = ",".join(f"{name}={count}" for name, count in given.items())
        text = str(given).strip()
        if text == AUTO:
            return cls()
        if "=" not in text:
            return cls(everywhere=_count(text, text), text=text)
        name, _, value = text.partition("=")
        if name.strip() == ERROR:
            return cls(error=_fraction(value, text), text=text)
        by_layer: dict[str, int] = {}
        for entry in text.split(","):
            name, _, count = (part.strip() for part in entry.rpartition("="))
            if not name or name in by_layer:
                raise _invalid(text)
            by_layer[name] = _count(count, text)
        return cls(by_layer=by_layer, text=text)

    def __str__(self) -> str:
        return self.text


def _count(text: str, whole: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) > 0):
        raise _invalid(whole)
    return int(text)


def _fraction(text: str, whole: str) -> float:
    try:
        fraction = float(text)
    except ValueError as error:
        raise _invalid(whole) from error
    if not 0 < fraction < 1:
        raise _invalid(whole)
    return fraction


def _invalid(text: str) -> UserError:
    return UserError(
        f"{quoted(text)} is not a number of clusters: write a number from 1 for every layer (3), numbers by layer "
        "(conv1=8,layer2=16), the error that they may make, between 0 and 1 (error=0.1), or auto."
    )
