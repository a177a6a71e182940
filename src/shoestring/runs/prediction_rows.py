"""How the class probabilities of an image become a row of results."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shoestring.errors import UserError
from shoestring.tasks import MULTI_LABEL, SINGLE_LABEL, THRESHOLD, Task

UNKNOWN = "unknown"  # in place of a class


class Row(NamedTuple):
    """Prediction of one image: its most probable classes with their probabilities, and whether it is unknown.

    If images may have several labels, `probabilities` are those of all labels.
    """

    image: str
    classes: list[tuple[str, float]]
    unknown: bool = False
    probabilities: dict[str, float] | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the row as plain values for JSON."""
        classes = [{"class": name, "probability": probability} for name, probability in self.classes]
        more: dict[str, Any] = {"unknown": True} if self.unknown else {}
        return {"image": self.image, "classes": classes, **more} | (
            {} if self.probabilities is None else {"probabilities": self.probabilities}
        )


@dataclass(frozen=True)
class Labeling:
    """Take the `top` classes, and call an image unknown if its most probable class is less probable than a limit.

    Without `top` it is the most probable class, or, if images may have several labels, those of at least 50 %. Raises
    `UserError` for a `top` below 1, a limit outside 0..1 or for several labels, and a class that is called "unknown".
    """

    classes: tuple[str, ...]
    top: int | None = None
    unknown_below: float | None = None
    task: Task = SINGLE_LABEL

    def __post_init__(self) -> None:
        if self.top is not None and self.top < 1:
            raise UserError(f"--top must be at least 1, not {self.top}.")
        if self.unknown_below is None:
            return
        if self.task == MULTI_LABEL:
            raise UserError("--unknown-below is for one class per image, and this model predicts several labels.")
        if not 0 < self.unknown_below < 1:
            raise UserError(f"--unknown-below takes a probability between 0 and 1, not {self.unknown_below:g}.")
        if UNKNOWN in self.classes:
            raise UserError(f"--unknown-below would be confused with the class '{UNKNOWN}' of the model: omit it.")

    def row(self, image: str, probabilities: NDArray[np.float32]) -> Row:
        """Return the row of an image with these probabilities (classes,)."""
        order = (-probabilities).argsort(kind="stable")
        unknown = self.unknown_below is not None and float(probabilities[order[0]]) < self.unknown_below
        if self.task == SINGLE_LABEL:
            order = order[: self.top or 1]
        ranked = [(self.classes[i], round(float(probabilities[i]), 5)) for i in order]
        if self.task == SINGLE_LABEL:
            return Row(image, ranked, unknown)
        count = self.top or sum(value >= THRESHOLD for _, value in ranked)
        found = dict(ranked)
        return Row(image, ranked[:count], unknown, {name: found[name] for name in self.classes})

    @property
    def header(self) -> list[str]:
        """Names of the columns of a CSV file."""
        if self.task == MULTI_LABEL:
            return ["image", *(text for name in self.classes for text in (name, f"{name} probability")), "error"]
        ranks = range(2, min(self.top or 1, len(self.classes)) + 1)
        more = [f"{name}_{rank}" for rank in ranks for name in ("class", "probability")]
        return ["image", "class", "probability", *more, *([] if self.unknown_below is None else ["guess"]), "error"]

    def cells(self, row: Row) -> list[Any]:
        """Return the cells of an image; if there is a limit, `guess` is the class without it."""
        if row.probabilities is not None:
            pairs = ((int(value >= THRESHOLD), value) for value in row.probabilities.values())
            return [row.image, *(cell for pair in pairs for cell in pair), ""]
        (best, probability), *others = row.classes
        more = [value for pair in others for value in pair]
        guess = [] if self.unknown_below is None else [best]
        return [row.image, UNKNOWN if row.unknown else best, probability, *more, *guess, ""]

    def cells_of_error(self, image: str, reason: str) -> list[Any]:
        """Return the cells of a file that cannot be read."""
        return [image, *[""] * (len(self.header) - 2), reason]
