"""How the problem grows while the budget is spent: a schedule says what to train at each fraction of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass

from shoestring.errors import UserError


@dataclass(frozen=True)
class Stage:
    """What to train at one moment: the side of the images, channels and blocks of the network, as shares of all."""

    resolution: float = 1.0
    width: float = 1.0
    depth: float = 1.0

    def __post_init__(self) -> None:
        for share in astuple(self):
            if not 0 < share <= 1:
                raise UserError(
                    f"a stage has shares of resolution, width and depth above 0 and up to 1, not {share:g}."
                )

    def least(self, other: Stage) -> Stage:
        """The smaller of both, in each of the three."""
        return Stage(*map(min, astuple(self), astuple(other)))


@dataclass(frozen=True)
class Schedule:
    """What to train at each fraction of the budget; `text` is how a user names it."""

    text: str
    at: Callable[[float], Stage]

    def __call__(self, spent: float) -> Stage:
        """The stage when this fraction, from 0 to 1, is spent."""
        return self.at(spent)
