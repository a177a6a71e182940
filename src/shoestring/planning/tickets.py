"""The plan of a lottery ticket experiment: one plan for all of its trainings."""

from __future__ import annotations

import math
from dataclasses import replace

from shoestring.budget import Budget
from shoestring.config.plan import Plan
from shoestring.config.recipe import Grow, Prune, TicketsRecipe
from shoestring.config.tickets import Tickets
from shoestring.data import Dataset
from shoestring.errors import BudgetTooSmall, UserError
from shoestring.planning.pretrained import NEW_HEAD_FACTOR
from shoestring.planning.resolve import Resolved, resolve
from shoestring.runtime.context import Context
from shoestring.training.optimizer import has_norms


def plan_tickets(
    recipe: TicketsRecipe, data: Dataset, budget: Budget, context: Context, *, stored: Plan | None = None
) -> Resolved:
    """Return the plan of each training, of which `budget` is the whole; `stored` is that of an interrupted experiment.

    The network does not grow, its head is trained with the rest, and Muon, whose updates are dense matrices, is not
    used. Raises `UserError` for settings that do not suit masks, and `BudgetTooSmall` if a part of the budget is too
    small for a training.
    """
    check_tickets(recipe)
    recipe = replace(recipe, grow=Grow(method="constant"), prune=Prune())
    context = replace(context, folder=None)
    resolved = _resolve(recipe, data, budget, context, stored)
    assert resolved.training is not None
    if stored is None and resolved.training.train.optimizer == "muon":
        optimizer = "sgd" if has_norms(resolved.training.model.module) else "adamw"
        recipe = replace(recipe, train=replace(recipe.train, optimizer=optimizer))
        resolved = _resolve(recipe, data, budget, context, stored)
        assert resolved.training is not None
    plan = resolved.training.train
    if plan.fine_tune is not None and plan.fine_tune.probe:
        plan = replace(plan, fine_tune=replace(plan.fine_tune, probe=False, head_factor=NEW_HEAD_FACTOR))
    _check_rewind(recipe.tickets, budget, images=len(data.train), batch_size=plan.batch_size)
    return replace(resolved, training=replace(resolved.training, train=plan))


def check_tickets(recipe: TicketsRecipe) -> None:
    """Raise `UserError` for training settings that do not suit masks, or trainings of one length."""
    train = recipe.train
    if train.optimizer == "muon":
        raise UserError("the updates of muon are dense, which does not suit masks: use --optimizer sgd or adamw.")
    if train.patience is not None or train.schedule != "deadline":
        raise UserError("tickets compare trainings of one length: omit --patience and --schedule.")
    if not recipe.grow.is_auto and recipe.grow.method != "constant":
        raise UserError("masks are of the whole network, which does not grow: omit --grow and --stages.")
    if recipe.prune.enabled:
        raise UserError("tickets remove weights, not channels: omit --macs, --params and --clusters.")


def _check_rewind(settings: Tickets, budget: Budget, *, images: int, batch_size: int) -> None:
    """Raise `UserError` for a step after the end of a training whose number of steps is known before."""
    if budget.unit == "epochs":
        steps = math.ceil(part_of(budget, settings.trainings).total * images / batch_size)
        if settings.rewind.steps > steps:
            raise UserError(f"--rewind {settings.rewind} is after the end of each training, which has {steps} steps.")


def _resolve(recipe: TicketsRecipe, data: Dataset, budget: Budget, context: Context, stored: Plan | None) -> Resolved:
    count = recipe.tickets.trainings
    try:
        return resolve(recipe, data, part_of(budget, count), context, steps=("train",), stored=stored)
    except BudgetTooSmall as error:
        if budget.unit != "seconds":
            raise
        least = budget.spent + count * error.least
        raise budget.too_small(least, why=f"{count} trainings of ten steps would not fit") from None


def part_of(budget: Budget, trainings: int, *, left: int | None = None, fraction: float = 1.0) -> Budget:
    """Return the budget of one of the trainings, or a `fraction` of it.

    Epochs and FLOPs are divided equally between all trainings, and the remaining time between those that are `left`.
    """
    if budget.unit == "seconds":
        return Budget(max(fraction * budget.remaining / (left or trainings), 1e-3), steps=("train",))
    part = fraction * budget.total / trainings
    return Budget(epochs=part, steps=("train",)) if budget.unit == "epochs" else Budget(flops=part, steps=("train",))
