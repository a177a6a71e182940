"""Prepare a training before its first step: batches, optimizer and growth as planned, or as saved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from shoestring.budget import Window
from shoestring.config.plan import TRAINING_FLOPS_PER_MAC, TrainPlan
from shoestring.data.augment import Augment
from shoestring.data.batches import Batches
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.evaluation.cost import count_macs
from shoestring.growth import Schedule
from shoestring.growth.compose import compose, stages_of
from shoestring.growth.deepening import GrowableBlocks
from shoestring.growth.image_size import cannot_shrink, stage_side
from shoestring.growth.widening import GrowableChannels
from shoestring.models.frozen_norms import FrozenNorms
from shoestring.models.model import Model
from shoestring.runtime.context import Context
from shoestring.training.checkpoint import Checkpoint, Extended, Fresh, Start
from shoestring.training.ema import EMA_FRACTIONS, WeightAverage
from shoestring.training.fine_tuning import freeze
from shoestring.training.optimizer import make_optimizer
from shoestring.training.progress import TrainingState
from shoestring.training.stages import GrowthState
from shoestring.training.stepper import Stepper

MIN_STEPS = 10  # fewer raise BudgetTooSmall


def growth_of(plan: TrainPlan) -> Schedule:
    """The growth schedule of a plan."""
    return compose("constant") if plan.extended else compose(plan.grow, plan.grow_options)


def prepare(
    model: Model, images: Images, window: Window, plan: TrainPlan, context: Context, start: Start
) -> TrainingState:
    """Return a training that is ready for its next step.

    Raises `BudgetTooSmall` if fewer than ten steps fit into the window, and `UserError` for a batch size of one with
    batch normalization, and for a growth schedule that the network cannot follow.
    """
    schedule, fresh = growth_of(plan), isinstance(start, Fresh)
    model.module.to(context.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    augment = Augment(**plan.augment)
    batches = Batches(
        images,
        model.prepare,
        size=plan.batch_size,
        augment=augment,
        device=context.device,
        seed=context.seed,
        part=context.rank_and_size,
    )
    macs = count_macs(model)
    if fresh:
        _refuse_if_too_small(window, batches, plan, macs)
    model.module.train()
    frozen = freeze(model, plan.fine_tune)
    _check_size(batches, model.module)
    growth = _growth(model, macs, schedule, context, fresh=fresh)
    stepper = Stepper(model, make_optimizer(model, plan), precision=plan.precision, device=batches.pixels.device)
    stepper.frozen_norms = None if plan.fine_tune is None else FrozenNorms(model)
    average = WeightAverage(model.module, fraction=EMA_FRACTIONS[plan.schedule]) if plan.ema else None
    state = TrainingState(plan, stepper, batches, growth, average=average)
    state.frozen = frozen
    if not isinstance(start, Fresh):
        _continue(state, window, start, context)
    elif window.budget.unit == "seconds":  # the time that planning took is not part of the schedule
        window.restart()
    return state


def _growth(model: Model, macs: float, schedule: Schedule, context: Context, *, fresh: bool) -> GrowthState:
    """The growth state of the network; a new one starts narrow or shallow."""
    channels, blocks = prepare_growth(model, schedule, seed=context.seed)
    side, first = model.preprocessing.resolution, schedule(0.0)
    if fresh and cannot_shrink(schedule, side):
        context.log(f"resolution does not grow: images of {side} x {side} pixels are too small to be reduced")
    if channels and fresh:
        channels.narrow(model.module, first.width)
    if blocks and fresh:  # after narrowing, which measures norms
        blocks.start(model.module, first.depth)
    return GrowthState(model, macs, first, channels=channels, blocks=blocks)


def _continue(state: TrainingState, window: Window, start: Start, context: Context) -> None:
    """Restore the saved state, and the part of the budget that belongs to this training."""
    assert not isinstance(start, Fresh)
    saved, budget = start.saved.content, window.budget
    with Checkpoint(context.folder).restoring():
        state.unpack(saved)
    if isinstance(start, Extended):
        budget.counted = max(budget.counted, saved["counted"])
        window.start = budget.spent
    else:
        window.start, window.portion = saved["window"]
        budget.counted = saved["counted"]
    context.log(f"resuming after {state.steps:,} steps")


def prepare_growth(
    model: Model, schedule: Schedule, *, seed: int = 0
) -> tuple[GrowableChannels | None, GrowableBlocks | None]:
    """The channels and blocks of the network that are added during training, None where width or depth does not grow.

    Raises `UserError` if a stage cannot be trained.
    """
    stages, size = stages_of(schedule), model.preprocessing
    for side in {stage_side(stage, size.resolution) for stage in stages} - {size.resolution}:
        remedy = "Leave resolution out of --grow, or change --stages."
        check_input(model, side, f", the size that training starts with. {remedy}")
    shape, generator = (1, size.channels, size.resolution, size.resolution), torch.Generator().manual_seed(0)
    example = torch.randn(shape, generator=generator).to(next(model.module.parameters()).device)
    channels = blocks = None
    if any(stage.width < 1 for stage in stages):
        try:
            channels = GrowableChannels(model.module, example, seed=seed)
        except ValueError as error:
            raise UserError(f"{model.name} cannot be widened: {error} Leave width out of --grow.") from None
    if any(stage.depth < 1 for stage in stages):
        try:
            blocks = GrowableBlocks(model.module, example)
        except ValueError as error:
            raise UserError(f"{model.name} {error} Leave depth out of --grow.") from None
    return channels, blocks


def check_input(model: Model, side: int, remedy: str) -> None:
    """Raise `UserError`, whose message ends with `remedy`, unless the network runs on images of this side in pixels."""
    try:
        count_macs(replace(model, preprocessing=replace(model.preprocessing, resolution=side)))
    except (RuntimeError, ValueError, AssertionError) as error:
        reason = next(iter(str(error).splitlines()), type(error).__name__)
        raise UserError(f"{model.name} does not take images of {side} x {side} pixels ({reason}){remedy}") from None


def _check_size(batches: Batches, module: nn.Module) -> None:
    """Raise `UserError` if a process has too few images per step."""
    normed = any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())
    processes = batches.part[1]
    if normed and batches.size < 2 * processes:
        raise UserError(
            f"batch normalization needs two images per step{' on each process' if processes > 1 else ''}: use more "
            f"images, --batch-size {2 * processes}, or --no-norm."
        )
    if batches.size < processes:
        raise UserError(
            f"a batch size of {batches.size} cannot be divided between {processes} processes: start fewer processes."
        )


def _refuse_if_too_small(window: Window, batches: Batches, plan: TrainPlan, macs: float) -> None:
    """Raise `BudgetTooSmall`, naming the smallest total that works, if fewer than ten steps fit."""
    budget, size = window.budget, batches.size
    budget.seconds_per_pass = plan.times.predict
    flops = TRAINING_FLOPS_PER_MAC * macs * size
    cost: dict[str, Any] = {"seconds": plan.times.step(size), "epochs": size / len(batches), "flops": flops}
    needed = MIN_STEPS * cost[budget.unit]
    if window.remaining >= needed:
        return
    used = budget.spent - window.start
    smallest = window.start + budget.reserved + 1.1 * (used + needed) / window.portion
    raise budget.too_small(smallest, why=f"{MIN_STEPS} training steps would not fit")
