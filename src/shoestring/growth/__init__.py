"""Growth: a schedule gives the image resolution, width and depth to train at each fraction of the budget."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple, dataclass

from shoestring.config.stages import Stages, check_stage


@dataclass(frozen=True)
class Stage:
    """What to train: image side, channels and blocks, as fractions of those of the final network."""

    resolution: float = 1.0
    width: float = 1.0
    depth: float = 1.0

    def __post_init__(self) -> None:
        check_stage(astuple(self))

    def minimum(self, other: Stage) -> Stage:
        """Return the smaller of both in each of the three."""
        return Stage(*map(min, astuple(self), astuple(other)))


@dataclass(frozen=True)
class Schedule:
    """The stage at each fraction of the budget; `definition` names its schedules, or is explicit stages."""

    definition: str | Stages
    at: Callable[[float], Stage]

    @property
    def text(self) -> str:
        """The definition as the user wrote it."""
        return str(self.definition)

    def __call__(self, spent: float) -> Stage:
        """Return the stage when this fraction of the budget, 0 to 1, is spent."""
        return self.at(spent)
