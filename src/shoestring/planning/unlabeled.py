"""How images without labels are used, and how the network is trained further on the labels that it predicts."""

from __future__ import annotations

from dataclasses import replace

from shoestring.budget import Window
from shoestring.config.plan import TrainPlan, UnlabeledPlan
from shoestring.config.recipe import Train
from shoestring.data import Images
from shoestring.errors import UserError
from shoestring.planning.plan import Allotment, Planned, Planner, plan_training
from shoestring.planning.pretrained import FITTED_HEAD_FACTOR
from shoestring.runtime.context import Context
from shoestring.tasks import SINGLE_LABEL, Task

_FIRST, _PREDICT = 0.4, 0.2  # fractions of the training on labeled images only, and for predicting the others


def plan_unlabeled(settings: Train, context: Context, task: Task = SINGLE_LABEL) -> UnlabeledPlan | None:
    """Return how images without labels are used; None if they are not.

    Raises `UserError` for a training that can be extended, for one of several processes, and for several labels per
    image.
    """
    if not settings.use_unlabeled:
        return None
    if settings.schedule == "anytime":
        raise UserError("--use-unlabeled trains in two parts, which cannot be extended: use --schedule deadline.")
    if context.distributed is not None:
        raise UserError("--use-unlabeled needs a single process: start one, or omit it.")
    if task != SINGLE_LABEL:
        raise UserError("--use-unlabeled needs one class for each image, and these have several labels: omit it.")
    return UnlabeledPlan(_FIRST, _PREDICT, settings.unlabeled_confidence)


def plan_second_part(planned: Planned, planner: Planner, images: Images, window: Window) -> TrainPlan:
    """Return the plan for training the network further on these images, which have predicted labels among them.

    The same blocks are trained as before, and the network does not grow any more.
    """
    first, settings = planned.train, planner.settings
    if first.fine_tune is not None:
        settings = replace(settings, tune=first.fine_tune.tune)
    allotment = Allotment(len(images), window.remaining, None, first.lr_range)
    plan = plan_training(planned.model, images, settings, allotment, planner.profiler)
    if plan.fine_tune is None or first.fine_tune is None:
        return plan
    return replace(plan, fine_tune=replace(plan.fine_tune, probe=False, head_factor=FITTED_HEAD_FACTOR))
