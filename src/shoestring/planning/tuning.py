"""How a pretrained network is tuned in the time there is: which blocks are trained, and the size of the input."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shoestring.budget import SAFETY_FACTOR
from shoestring.config.plan import StepTimes
from shoestring.models.blocks import HEAD

# Epochs of all blocks that a larger input must leave time for. On a thousand images of CIFAR-10 three epochs with 128
# pixels reach 89.6 %, seven with 96 pixels, which take longer, 85.9 % (benchmarks/results/tuning_trials.json).
ENOUGH_EPOCHS = 3.0
# With fewer epochs only the head is trained. All blocks for 1.4 epochs are better than the last three blocks for three
# (82.1 and 81.3 %, where the head alone has 78.6 %), so these are not tried.
LEAST_EPOCHS = 1.0
_IMAGES = 1000  # that an epoch has at least, here: few images need more epochs
_HEAD_FRACTION = 0.5  # of the time, for the features of a larger input than the smallest


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

    def epochs(self, area: float) -> float:
        """Epochs of all blocks with an input of this area, after the features for the head.

        If there are fewer than a thousand images, an epoch is that many.
        """
        features = area * self.count * self.times.predict
        return (self.remaining(area) - features) / (area * max(self.count, _IMAGES) * self.times.train)


def choose_tuning(work: Work, sides: Sequence[int], *, tune: str) -> tuple[int, str]:
    """Return the side of the input in pixels, the largest that leaves enough time, and which blocks are trained.

    `sides` are in ascending order. The setting `tune` is kept unless it is "auto": then all blocks are trained if there
    is time for an epoch, else the head.
    """
    areas = {side: (side / sides[0]) ** 2 for side in sides}
    if tune == HEAD or (tune == "auto" and work.epochs(1.0) < LEAST_EPOCHS):
        features = {side: area * work.count * work.times.predict for side, area in areas.items()}
        fitting = [side for side in sides if features[side] <= _HEAD_FRACTION * work.remaining(areas[side])]
        return max(fitting, default=sides[0]), HEAD
    fitting = [side for side in sides if work.epochs(areas[side]) >= ENOUGH_EPOCHS]
    return max(fitting, default=sides[0]), "all" if tune == "auto" else tune
