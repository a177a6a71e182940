"""Before the first step: batches, calibration, images a step, the optimiser; or all of these as they were saved."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import nn

from shoestring.budget import Window
from shoestring.config.recipe import Train
from shoestring.data.augment import Augment
from shoestring.data.batches import Batches
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.evaluation.cost import count_macs
from shoestring.growth import Schedule
from shoestring.growth.compose import stages_of
from shoestring.growth.deepening import GrowableBlocks
from shoestring.growth.widening import GrowableChannels
from shoestring.models.model import Model
from shoestring.runtime.context import Context
from shoestring.training import defaults
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.ema import AVERAGED, Average
from shoestring.training.optimizers.optimizer import make, update_seconds
from shoestring.training.profiling import FLOPS_PER_MAC, Speed, calibrate, images_to_time
from shoestring.training.state import State

LEAST_STEPS = 10  # a training of fewer steps is not worth the name
_CALIBRATION = 0.02  # share of the budget that may go into calibration
_CALIBRATION_IMAGES = 128


def begin(
    model: Model,
    images: Images,
    window: Window,
    *,
    settings: Train,
    context: Context,
    schedule: Schedule,
    scale: float,
    saved: dict[str, Any] | None,
    longer: bool = False,
) -> State:
    """All that a training needs, calibrated for the whole problem on this machine, or going on from a saved state.

    `longer` says that the saved training had ended, and goes on into a window of its own.

    Raises `BudgetTooSmall` when fewer than ten steps fit into the window, `UserError` for one image a step where batch
    normalisation needs two, and for a schedule that the network cannot follow.
    """
    model.module.to(context.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    settings = replace(settings, optimiser=saved["rule"]) if saved else settings
    size = (
        saved["batches"]["size"]
        if saved
        else settings.batch_size or defaults.first_batch_size(len(images), context.device)
    )
    around = {"augment": Augment(), "device": context.device, "seed": context.seed, "part": context.rank_and_size}
    batches = Batches(images, model.prepare, size=size, **around)
    model.module.train()
    macs = count_macs(model)
    speed = _calibrate(model, batches, window, settings, macs, context.threads)
    if not saved:
        if settings.batch_size is None:
            full = model.preprocessing.resolution
            batches.size = defaults.fewer_images_a_step(batches.size, window, speed, schedule, full)
        _refuse_if_too_small(window, batches, speed, macs)
    _check_size(batches, model.module)
    growing, blocks = prepare_growth(model, schedule, seed=context.seed)
    if not saved and defaults.too_small_to_shrink(schedule, model.preprocessing.resolution):
        side = model.preprocessing.resolution
        context.log(f"resolution does not grow: images of {side} x {side} pixels are not made smaller")
    first = schedule(0.0)
    if growing and not saved:
        growing.narrow(model.module, first.width)
    if blocks and not saved:  # after the cut, which measures norms
        blocks.start(model.module, first.depth)
    optimiser = make(model, settings, batch_size=batches.size, scale=scale)
    average = Average(model.module, share=AVERAGED[settings.schedule]) if settings.averaging else None
    grown = (growing, blocks, first.width, first.depth)
    state = State(model, batches, optimiser, average, speed, macs, schedule.text, *grown)
    if saved:
        with Checkpoint(context.folder).restoring():
            state.unpack(saved)
        if longer:
            window.budget.counted = max(window.budget.counted, saved["counted"])
            window.start = window.budget.spent
        else:
            window.start, window.share = saved["window"]
            window.budget.counted = saved["counted"]
        context.log(f"going on after {state.steps:,} steps")
    elif window.budget.unit == "seconds":  # what choosing and timing the network took is not of its schedule
        window.restart()
    passes = window.length / _prices(batches, speed, macs)[window.budget.unit] * batches.size / len(batches)
    passes += state.epoch if longer else 0.0
    batches.augment = defaults.augmentation(settings, len(images), mirrored=images.mirrored, passes=passes)
    return state


def prepare_growth(
    model: Model, schedule: Schedule, *, seed: int = 0
) -> tuple[GrowableChannels | None, GrowableBlocks | None]:
    """The channels and blocks of the whole network that can come later, None where width or depth stays.

    Raises `UserError` when a stage cannot be trained.
    """
    stages, size = stages_of(schedule), model.preprocessing
    for side in {defaults.side(stage, size.resolution) for stage in stages} - {size.resolution}:
        try:
            count_macs(replace(model, preprocessing=replace(size, resolution=side)))
        except (RuntimeError, ValueError, AssertionError) as error:
            told = str(error).splitlines()[0]
            raise UserError(
                f"{model.name} does not take images of {side} x {side} pixels ({told}), with which training is to "
                "start. Leave resolution out of --grow, or write other --stages."
            ) from None
    shape, generator = (1, size.channels, size.resolution, size.resolution), torch.Generator().manual_seed(0)
    example = torch.randn(shape, generator=generator).to(next(model.module.parameters()).device)
    growing = blocks = None
    if any(stage.width < 1 for stage in stages):
        try:
            growing = GrowableChannels(model.module, example, seed=seed)
        except ValueError as error:
            raise UserError(f"{model.name} cannot be widened: {error} Leave width out of --grow.") from None
    if any(stage.depth < 1 for stage in stages):
        try:
            blocks = GrowableBlocks(model.module, example)
        except ValueError as error:
            raise UserError(f"{model.name} {error} Leave depth out of --grow.") from None
    return growing, blocks


def _calibrate(
    model: Model, batches: Batches, window: Window, settings: Train, macs: float, threads: int | None
) -> Speed:
    """Measured speed; where the budget is counted, nothing is measured, so that the run can be repeated exactly."""
    budget = window.budget
    if budget.unit != "seconds":
        precision = "float32" if settings.precision == "auto" else settings.precision
        return Speed(precision, 0.0, 0.0)
    processes, limit = batches.part[1], _CALIBRATION * budget.total
    device, step = batches.pixels.device.type, max(batches.size // processes, 1)
    count = images_to_time(macs, limit, most=_CALIBRATION_IMAGES, step=step, device=device)
    batch = batches.peek(min(batches.size, count * processes))
    speed = calibrate(model, batch, wanted=settings.precision, limit=limit, threads=threads)
    return replace(speed, train=speed.train / processes, update=update_seconds(model, settings))


def _check_size(batches: Batches, module: nn.Module) -> None:
    """Raise `UserError` when a process has too few images in a step."""
    normed = any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in module.modules())
    processes = batches.part[1]
    if normed and batches.size < 2 * processes:
        raise UserError(
            f"batch normalisation needs two images a step{' on each process' if processes > 1 else ''}: take more "
            f"images, --batch-size {2 * processes}, or --no-norm."
        )
    if batches.size < processes:
        raise UserError(f"{batches.size} images a step cannot be shared by {processes} processes: start fewer.")


def _refuse_if_too_small(window: Window, batches: Batches, speed: Speed, macs: float) -> None:
    """Raise `BudgetTooSmall`, naming the least total that works, when fewer than ten steps fit."""
    budget = window.budget
    budget.pace = speed.predict
    price = _prices(batches, speed, macs)[budget.unit]
    needed = LEAST_STEPS * price
    if window.remaining >= needed:
        return
    used = budget.spent - window.start
    least = window.start + budget.reserved + 1.1 * (used + needed) / window.share
    raise budget.refuse(least, why=f"{LEAST_STEPS} training steps would not fit")


def _prices(batches: Batches, speed: Speed, macs: float) -> dict[str, float]:
    """What a step of the whole problem costs, by the units of a budget."""
    size = batches.size
    flops = FLOPS_PER_MAC * macs * size
    return {"seconds": speed.step(size), "epochs": size / len(batches), "flops": flops}
