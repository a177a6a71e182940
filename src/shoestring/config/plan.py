"""The plan of a run: every answer that a recipe leaves open. Plain data, which `planning` computes."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from shoestring.config.stages import Stages
from shoestring.errors import UserError

_TRAININGS = ("proxy", "train", "recovery")  # fields of a plan
TRAINING_FLOPS_PER_MAC = 6.0  # two forward, and twice that backward


@dataclass(frozen=True)
class StepTimes:
    """Seconds per image of a training step and of a prediction, and per step of the optimizer; measured once.

    All are zero where the budget is counted in epochs or FLOPs: nothing is timed then, so that a run is reproducible.
    They are those of an idle machine. `crowded` is True when other processes were running: the times are then processor
    time of one thread.
    """

    train: float = 0.0
    predict: float = 0.0
    update: float = 0.0
    crowded: bool = False

    def step(self, images: int) -> float:
        """Seconds of a training step with this batch size."""
        return images * self.train + self.update


@dataclass(frozen=True)
class FineTune:
    """How a pretrained network is fine-tuned.

    `tune` names the blocks that are trained (see `models.blocks.tuned_blocks`). The learning rate of the head is
    `head_factor` times that of the last block before it, and that of each earlier block `decay` times that of the next.
    Batch norms use and keep their pretrained statistics. With `probe`, the head is first fitted to the features of the
    pretrained network. The frozen part is run once for each of `views` augmented views of each image, whose outputs are
    kept in memory; with 0, it is run in each step.
    """

    tune: str = "all"
    head_factor: float = 1.0
    decay: float = 1.0
    probe: bool = False
    views: int = 0


@dataclass(frozen=True)
class TrainPlan:
    """How one network is trained.

    `learning_rate` is the peak, and `lr_range` the part of the learning-rate schedule that this training covers: one
    schedule ("deadline" or "anytime") runs through training and recovery. With `extendable` the training can continue
    after its end with a larger budget; one that is `extended` does so, and does not grow any more. `grow` names growth
    schedules, with their options, or is explicit stages. `augment` holds the fields of `data.augment.Augment`.
    `class_weights` are "balanced", or weights in the loss by class; None for equal ones.
    `fine_tune` is None for a network that is trained from scratch. `side` is that of the network's input in pixels, or
    None for that of the images.
    """

    batch_size: int
    precision: str
    optimizer: str
    learning_rate: float
    weight_decay: float
    schedule: str = "deadline"
    extendable: bool = False
    extended: bool = False
    lr_range: tuple[float, float] = (0.0, 1.0)
    label_smoothing: float = 0.0
    class_weights: str | Mapping[str, float] | None = None
    ema: bool = True
    patience: int | None = None
    grow: str | Stages = "constant"
    grow_options: Mapping[str, Any] = field(default_factory=dict)
    augment: Mapping[str, Any] = field(default_factory=dict)
    times: StepTimes = StepTimes()
    fine_tune: FineTune | None = None
    side: int | None = None


@dataclass(frozen=True)
class UnlabeledPlan:
    """How images without labels are used.

    After the fraction `first` of the training, the network predicts them for at most the fraction `predict`. Those with
    a calibrated probability of at least `confidence` get the predicted label, and training goes on with all of them.
    The confidence None is the lowest above which the predictions of validation images are right often enough.
    """

    first: float
    predict: float
    confidence: float | None = None


@dataclass(frozen=True)
class Plan:
    """The plan of a run. `None` where a step is not part of it.

    `resolution` is the side of the images in pixels (0 in run folders of earlier versions), `tta` the test-time
    augmentation. `select` is the method, `features` are those that it compares images by, and `proxy` is how its proxy
    is trained. `options` are those of the network `model`, its width included. `recovery` is how the pruned network is
    fine-tuned, and `unlabeled` how images without labels are used. `reasons` explain each answer in a few words, by
    its name.
    """

    resolution: int
    tta: str
    weights: str | None = None
    select: str | None = None
    features: str | None = None
    proxy: TrainPlan | None = None
    model: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    train: TrainPlan | None = None
    prune: str | None = None
    recovery: TrainPlan | None = None
    unlabeled: UnlabeledPlan | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)


def to_dict(plan: Plan | TrainPlan) -> dict[str, Any]:
    """The plan as nested plain values, as JSON and `state.pt` hold it."""
    if isinstance(plan, TrainPlan):
        return {**dataclasses.asdict(plan), "grow": str(plan.grow)}
    trainings = {name: getattr(plan, name) for name in _TRAININGS}
    return {
        **dataclasses.asdict(plan),
        **{name: None if part is None else to_dict(part) for name, part in trainings.items()},
    }


def without_trainings(plan: Plan) -> Plan:
    """Return the plan of a run whose trainings are planned anew: for a larger budget."""
    return dataclasses.replace(plan, **dict.fromkeys(_TRAININGS))


def train_plan(content: Mapping[str, Any]) -> TrainPlan:
    """The plan of a training from plain values. Raises `UserError` if they are not one."""
    try:
        grow = Stages.parse(content["grow"]) if "@" in content["grow"] else content["grow"]
        parsed: dict[str, Any] = {
            "times": StepTimes(**content["times"]),
            "lr_range": tuple(content["lr_range"]),
            "grow": grow,
        }
        if content.get("fine_tune") is not None:
            parsed["fine_tune"] = FineTune(**content["fine_tune"])
        return TrainPlan(**{**content, **parsed})
    except (TypeError, KeyError):
        raise UserError("the training plan is corrupted or was written by another version of shoestring.") from None


def run_plan(content: Mapping[str, Any]) -> Plan:
    """The plan of a run from plain values. Raises `UserError` if they are not one."""
    parts: dict[str, Any] = {name: train_plan(content[name]) for name in _TRAININGS if content.get(name) is not None}
    try:
        if content.get("unlabeled") is not None:
            parts["unlabeled"] = UnlabeledPlan(**content["unlabeled"])
        return Plan(**{**content, **parts})
    except TypeError:
        raise UserError("the plan of the run is corrupted or was written by another version of shoestring.") from None
