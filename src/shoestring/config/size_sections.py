"""Sections of the recipe that change the size of the network: growth and pruning."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

from shoestring.config.fields import Section, option
from shoestring.config.stages import Stages
from shoestring.config.units import Size
from shoestring.errors import UserError


@dataclass(frozen=True)
class Grow(Section):
    """Progressive resizing and network growth."""

    method: str = option(
        "growth schedule, see `shoestring list grow`, or several, comma-separated; auto grows the network only if it "
        "is too large for the time budget",
        "auto",
    )
    stages: Stages | None = option(
        "explicit stages instead, as WIDTH@RESOLUTION or WIDTH@RESOLUTION@DEPTH, optionally followed by :FRACTION of "
        "the training: 0.5@0.5,1@0.75@0.5:0.3,1@1",
        parse=Stages.parse,
    )
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def is_auto(self) -> bool:
        """Whether the schedule is left open."""
        return self.method == "auto" and self.stages is None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.stages is not None and (self.method != "auto" or self.options):
            raise UserError("--stages replaces growth schedules: omit --grow and its options.")
        if self.method == "auto" and self.options:
            raise UserError(f"'{next(iter(self.options))}' is an option of a growth schedule: name one with --grow.")


@dataclass(frozen=True)
class Prune(Section):
    """Pruning method and target size."""

    method: str = option("criterion that ranks channels for removal, see `shoestring list prune`", "magnitude")
    macs: Size | None = option(
        "target for the MACs of one forward pass: a fraction (0.5) or a number (20M)",
        parse=partial(Size.parse, what="--macs"),
    )
    params: Size | None = option(
        "target for the number of parameters: a fraction (0.5) or a number (200k)",
        parse=partial(Size.parse, what="--params"),
    )
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def enabled(self) -> bool:
        """Whether a target is set."""
        return self.macs is not None or self.params is not None
