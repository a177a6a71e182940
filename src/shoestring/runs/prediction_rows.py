"""How the class probabilities of an image become a row of results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shoestring.errors import UserError

UNKNOWN = "unknown"  # in place of a class


class Row(NamedTuple):
    """Prediction of one image: its most probable classes with their probabilities, and whether it is unknown."""

    image: str
    classes: list[tuple[str, float]]
    unknown: bool = False

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain values for JSON."""
        classes = [{"class": name, "probability": probability} for name, probability in self.classes]
        return {"image": self.image, "classes": classes, **({"unknown": True} if self.unknown else {})}


@dataclass(frozen=True)
class Labeling:
    """Take the `top` classes, and call an image unknown if its most probable class is less probable than a limit.

    Raises `UserError` for a `top` below 1, a limit outside 0..1, and a class that is called "unknown".
    """

    classes: tuple[str, ...]
    top: int = 1
    unknown_below: float | None = None

    def __post_init__(self) -> None:
        if self.top < 1:
            raise UserError(f"--top must be at least 1, not {self.top}.")
        if self.unknown_below is None:
            return
        if not 0 < self.unknown_below < 1:
            raise UserError(f"--unknown-below takes a probability between 0 and 1, not {self.unknown_below:g}.")
        if UNKNOWN in self.classes:
            raise UserError(f"--unknown-below would be confused with the class '{UNKNOWN}' of the model: leave it out.")

    def row(self, image: str, probabilities: NDArray[np.float32]) -> Row:
        """Return the row of an image with these probabilities (classes,)."""
        best = (-probabilities).argsort(kind="stable")[: self.top]
        unknown = self.unknown_below is not None and float(probabilities[best[0]]) < self.unknown_below
        return Row(image, [(self.classes[i], round(float(probabilities[i]), 5)) for i in best], unknown)

    @property
    def header(self) -> list[str]:
        """Names of the columns of a CSV file."""
        ranks = range(2, min(self.top, len(self.classes)) + 1)
        more = [f"{name}_{rank}" for rank in ranks for name in ("class", "probability")]
        return ["image", "class", "probability", *more, *([] if self.unknown_below is None else ["guess"]), "error"]

    def cells(self, row: Row) -> list[Any]:
        """Return the cells of an image; if there is a limit, `guess` is the class without it."""
        (best, probability), *others = row.classes
        more = [value for pair in others for value in pair]
        guess = [] if self.unknown_below is None else [best]
        return [row.image, UNKNOWN if row.unknown else best, probability, *more, *guess, ""]

    def cells_of_error(self, image: str, reason: str) -> list[Any]:
        """Return the cells of a file that cannot be read."""
        return [image, *[""] * (len(self.header) - 2), reason]
