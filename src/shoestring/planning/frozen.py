"""Whether the frozen part of a network is run once for each image before its other blocks are trained."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch

from shoestring.budget import Budget
from shoestring.config.plan import FineTune, TrainPlan
from shoestring.config.recipe import Train
from shoestring.errors import UserError
from shoestring.models.blocks import HEAD, find_blocks, tuned_blocks
from shoestring.models.frozen import FrozenPart, find_frozen_part
from shoestring.models.model import Model
from shoestring.training.frozen import part_macs

_VIEWS = 4  # augmented views of each image
_MAX_FRACTION = 0.25  # of the budget for the training, for running the frozen part on all views
_MAX_BYTES = 2e9  # of the outputs in memory
_PIXELS = ("shift", "cutout", "jitter", "rotate", "zoom")  # augmentation of images before the network


def with_views(
    plan: TrainPlan, model: Model, settings: Train, count: int, epochs: float, length: float, budget: Budget
) -> TrainPlan:
    """Return the plan with the number of views for which the frozen part is run once; 0 runs it in each step.

    `epochs` is how many of `count` images fit into `length`, in the unit of the budget, if the whole network is run in
    each step. A head alone is trained on the images as they are, in one view, unless augmentation is requested.
    Otherwise there are as many views as a quarter of the budget and the memory allow, at most four, if that is less
    work. Raises `UserError` if views are requested without a frozen part that can be run alone.
    """
    fine_tune, requested = plan.fine_tune, settings.frozen_views
    part = None if fine_tune is None or requested == 0 else _frozen_part(model, fine_tune, plan)
    if requested:
        _check(requested, part, settings, plan)
    if part is None or fine_tune is None:
        return plan
    augment = _unaugmented(plan.augment) if _is_plain_head(fine_tune, settings) else plan.augment
    if requested:
        return replace(plan, fine_tune=replace(fine_tune, views=requested))
    most = _VIEWS if any(augment[name] for name in _PIXELS) or augment["flip"] else 1
    cost = {"seconds": plan.times.predict, "flops": 2.0 * part_macs(model, part)}.get(budget.unit, 0.0) * count
    if cost:
        most = min(most, int(_MAX_FRACTION * length / cost))
    most = min(most, int(_MAX_BYTES / (count * _bytes(model, part, plan.precision))))
    if not most or epochs <= most:
        return plan
    return replace(plan, augment=augment, fine_tune=replace(fine_tune, views=most))


def _frozen_part(model: Model, fine_tune: FineTune, plan: TrainPlan) -> FrozenPart | None:
    """The frozen part, if its outputs stay the same: images do not grow, nor does the strength of augmentation."""
    changing = plan.grow != "constant" or len(set(plan.augment["strength"])) > 1
    if fine_tune.tune == "all" or changing:
        return None
    blocks = find_blocks(model.module, model.heads)
    tuned = tuned_blocks(fine_tune.tune, blocks, name=model.name)
    return find_frozen_part(model, [name for block in tuned for name in blocks[block]])


def _check(views: int, part: FrozenPart | None, settings: Train, plan: TrainPlan) -> None:
    """Raise `UserError` unless the frozen part can be run for these views."""
    if plan.fine_tune is None or plan.fine_tune.tune == "all":
        raise UserError("--frozen-views needs a network that is frozen in part: set --tune to some of its blocks.")
    if part is None:
        raise UserError(
            f"--frozen-views {views} needs a frozen part that runs alone, without --grow, --stages and --strength: "
            "omit one of them."
        )
    if plan.fine_tune.probe and plan.fine_tune.tune == HEAD:
        raise UserError("--frozen-views has no effect on a head that is fitted to features: omit it.")


def _is_plain_head(fine_tune: FineTune, settings: Train) -> bool:
    """Whether only the head is trained, and no augmentation or number of views is requested."""
    requested = any(getattr(settings, name) for name in ("flip", *_PIXELS))
    return fine_tune.tune == HEAD and not requested and settings.frozen_views is None


def _unaugmented(augment: Mapping[str, Any]) -> dict[str, Any]:
    return {**augment, "flip": False, **dict.fromkeys(_PIXELS, 0.0)}


def _bytes(model: Model, part: FrozenPart, precision: str) -> int:
    """Bytes of the outputs for one image."""
    size, device = model.preprocessing, next(model.module.parameters()).device
    outputs = part.outputs(torch.zeros(1, size.channels, size.resolution, size.resolution, device=device))
    return outputs.numel() * (4 if precision == "float32" else 2)
