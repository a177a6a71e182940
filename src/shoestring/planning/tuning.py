"""How a pretrained network is tuned in the time there is: which blocks are trained, and the size of the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shoestring.budget import SAFETY_FACTOR
from shoestring.config.plan import StepTimes
from shoestring.evaluation.cost import count_macs
from shoestring.models.blocks import HEAD, find_blocks
from shoestring.models.frozen import find_frozen_part
from shoestring.models.model import Model
from shoestring.training.frozen import part_macs

# Epochs that a tuning must have time for, else fewer blocks are trained or the input is smaller. Trained for fewer, all
# blocks are worse than the last ones, and these than the fitted head (1,000 images of CIFAR-10, validation images).
ALL_EPOCHS, LAST_EPOCHS = 10.0, 4.0
_LAST_FRACTION = 0.5  # of the MACs, which the last blocks have at most
_VIEWS = 4  # for which the frozen part is run
_HEAD_FRACTION = 0.5  # of the time, for features with a larger input than the smallest


@dataclass(frozen=True)
class LastBlocks:
    """The last blocks of a network as a `--tune` setting, and the fraction of the MACs before them."""

    tune: str
    frozen: float


@dataclass(frozen=True)
class Work:
    """What there is to do in `seconds`, with a network of these times at the smallest side of its input.

    `count` images are trained on; `evaluated` forward passes are reserved besides.
    """

    seconds: float
    times: StepTimes
    count: int
    evaluated: int

    def remaining(self, area: float) -> float:
        """Seconds for training with an input of `area` times the smallest one: evaluation takes longer as well."""
        return self.seconds - SAFETY_FACTOR * (area - 1) * self.times.predict * self.evaluated

    def epochs(self, area: float, frozen: float = 0.0) -> float:
        """Epochs with an input of this area if a fraction of the MACs is run only once for each view."""
        once = _VIEWS * frozen * self.times.predict
        each = (1 - frozen) * self.times.train
        return (self.remaining(area) / (area * self.count) - once) / each if each else float("inf")


def last_blocks(model: Model) -> LastBlocks | None:
    """Return as many of the last blocks as have at most half of the MACs; None if what is before cannot run alone."""
    blocks = find_blocks(model.module, model.heads)
    names, total, found = [block for block in blocks if block != HEAD], count_macs(model), None
    for count in range(1, len(names)):
        tuned = [name for block in (*names[-count:], HEAD) for name in blocks[block]]
        part = find_frozen_part(model, tuned)
        frozen = 0.0 if part is None else part_macs(model, part) / total
        if frozen < 1 - _LAST_FRACTION:
            break
        found = LastBlocks(f"last:{count}", frozen)
    return found


def choose_tuning(work: Work, sides: Sequence[int], *, tune: str, last: LastBlocks | None) -> tuple[int, str]:
    """Return the side of the input in pixels, and which blocks are trained.

    The first of all blocks, the last ones and the head alone that there is time for, with the largest of these sides,
    in ascending order. `tune` is requested unless it is "auto".
    """
    areas = {side: (side / sides[0]) ** 2 for side in sides}
    requested = {"all": ("all", 0.0, ALL_EPOCHS)}
    if last is not None:
        requested[last.tune] = (last.tune, last.frozen, LAST_EPOCHS)
    candidates = list(requested.values())
    if tune not in ("auto", HEAD):
        candidates = [requested.get(tune, (tune, 0.0, ALL_EPOCHS))]
    for name, frozen, enough in [] if tune == HEAD else candidates:
        fitting = [side for side, area in areas.items() if work.epochs(area, frozen) >= enough]
        if fitting:
            return max(fitting), name
    if tune not in ("auto", HEAD):
        return sides[0], tune
    features = {side: work.count * area * work.times.predict for side, area in areas.items()}
    fitting = [side for side in sides if features[side] <= _HEAD_FRACTION * work.remaining(areas[side])]
    return max(fitting, default=sides[0]), HEAD
