"""Settings of lottery ticket experiments."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Literal

from shoestring.config.fields import Section, option
from shoestring.errors import UserError, quoted, unknown

CONTROLS = {
    "reinit": "the mask of the ticket, another random initialization",
    "shuffled": "the mask of the ticket shuffled within each layer, with the weights of the ticket",
    "random": "a random mask that keeps as many of the weights as the ticket, over all layers",
    "finetune": "magnitude pruning: trained weights are kept and trained further, instead of rewound",
}


@dataclass(frozen=True)
class Rewind:
    """To which moment of the training weights are rewound: after a number of steps, or a fraction of the training."""

    steps: int = 0
    fraction: float = 0.0
    text: str = "0"

    @classmethod
    def parse(cls, given: Any) -> Rewind:
        """Parse '0', '500' (steps) or '2%'. Raises `UserError` for anything else."""
        if isinstance(given, Rewind):
            return given
        text = str(given).strip()
        if text.isascii() and text.isdigit():
            return cls(steps=int(text), text=text)
        match = re.fullmatch(r"(\d+(?:\.\d*)?|\.\d+)\s*%", text, re.ASCII)
        fraction = float(match[1]) / 100 if match else 1.0
        if not fraction < 1:
            raise UserError(
                f"{quoted(given)} is not a moment to rewind to: write 0 for the initialization, a number of steps "
                "(500), or a part of the training below 100 % (2%)."
            )
        return cls(fraction=fraction, text=text)

    @property
    def to_start(self) -> bool:
        """Whether weights are rewound to the initialization."""
        return self.steps == 0 and self.fraction == 0

    def __str__(self) -> str:
        return self.text


class Controls(tuple[str, ...]):
    """Names of control networks, parsed from 'reinit,random', 'all' or 'none'."""

    def __new__(cls, given: Any) -> Controls:  # noqa: D102
        if isinstance(given, str):
            words = {"all": tuple(CONTROLS), "none": ()}
            given = words[given] if given in words else [name.strip() for name in given.split(",")]
        names = tuple(map(str, given))
        for name in names:
            if name not in CONTROLS:
                raise unknown("control", name, {*CONTROLS, "all", "none"})
        return super().__new__(cls, [name for name in CONTROLS if name in names])

    def __str__(self) -> str:
        return ",".join(self) or "none"


@dataclass(frozen=True)
class Tickets(Section):
    """Lottery tickets: weights removed by magnitude in several levels, and control networks."""

    levels: int = option("number of times that weights are removed and the rest is trained again", 5, ge=1, le=100)
    rate: float = option(
        "fraction of the remaining weights that each level removes; half as many of the last layer with --scope layer",
        0.2,
        gt=0,
        lt=1,
    )
    conv_rate: float | None = option("this fraction for convolutions (default: as --rate)", gt=0, lt=1)
    scope: Literal["layer", "global"] = option(
        "remove the same fraction of each layer, or the smallest weights of all layers", "layer"
    )
    rewind: Rewind = option(
        "moment to which the remaining weights are rewound: 0 is the initialization, 500 after 500 steps, 2% after "
        "that part of the training",
        Rewind(),
        parse=Rewind.parse,
    )
    prunable: Literal["all", "tuned"] = option(
        "weights that may be removed: all, or only those of the blocks that --tune trains", "all"
    )
    controls: Controls = option(
        "networks trained for comparison at each level: all, none, or some of reinit, shuffled, random and finetune, "
        "comma-separated",
        Controls("all"),
        parse=Controls,
    )
    seeds: int = option("number of repetitions, with the seeds --seed, --seed + 1 and so on", 1, ge=1, le=100)
    to_channels: bool = option("remove channels that are dead in the final ticket: a smaller network, not masks", False)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.conv_rate is not None and self.scope == "global":
            raise UserError("--conv-rate is for --scope layer: with global, all weights compete. Omit one of them.")

    @property
    def trainings(self) -> int:
        """Number of trainings in total."""
        return self.seeds * (1 + self.levels * (1 + len(self.controls)))
