"""From the trainings of a lottery ticket experiment to its results, and to a network without dead channels."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from shoestring.budget import DEFAULT_EPOCHS, Budget
from shoestring.config.recipe import TicketsRecipe
from shoestring.data import Dataset, Images
from shoestring.errors import UserError
from shoestring.evaluation.cost import count_macs, count_params
from shoestring.execute.ticket_store import Row, Store
from shoestring.execute.tickets import Experiment
from shoestring.models.head_modules import class_scores
from shoestring.models.model import Model
from shoestring.planning.tickets import plan_tickets
from shoestring.pruning.tickets.dead_channels import remove_dead_channels
from shoestring.reporting.tickets import notes, summarize, winner
from shoestring.runtime.context import Context

_EXAMPLES = 128  # images on which the outputs of the smaller network are compared


def find_tickets(recipe: TicketsRecipe, data: Dataset, *, budget: Budget | None, context: Context) -> dict[str, Any]:
    """Do all trainings in memory; return the results with the network of the winner as `ticket`.

    `budget` is a time for all trainings, or the epochs or FLOPs of each (None: 10 epochs).
    """
    whole = whole_budget(budget or Budget(epochs=DEFAULT_EPOCHS), recipe.tickets.trainings)
    kept: dict[str, Model] = {}

    def keep(model: Model, row: Row) -> None:
        kept["ticket"] = replace(model, module=copy.deepcopy(model.module))

    resolved = plan_tickets(recipe, data, whole, context)
    images = resolved.data.train
    experiment = Experiment(recipe.tickets, resolved, resolved.data, images, whole, context, Store(), keep)
    rows, channels = experiment.run(), None
    if recipe.tickets.to_channels:
        kept["ticket"], channels = without_dead_channels(kept["ticket"], experiment.planned.model, images)
    return {**results(experiment, rows, channels), **kept}


def whole_budget(budget: Budget, trainings: int) -> Budget:
    """Return the budget of all trainings: a time as it is, or epochs or FLOPs, of which each training has so many."""
    if budget.unit == "seconds":
        return budget
    total = trainings * budget.total
    return Budget(epochs=total, steps=()) if budget.unit == "epochs" else Budget(flops=total, steps=())


def results(experiment: Experiment, rows: Sequence[Row], channels: dict[str, Any] | None) -> dict[str, Any]:
    """Return sizes, rows, their summary over seeds, the winner, and the limits of these numbers, as plain values."""
    found: dict[str, Any] = {
        **experiment.sizes(),
        "summary": summarize(rows),
        "rows": list(rows),
        "winner": winner(rows, experiment.context.seed),
        "channels": channels,
    }
    return {**found, "notes": notes(found)}


@torch.no_grad()
def without_dead_channels(masked: Model, dense: Model, images: Images) -> tuple[Model, dict[str, Any]]:
    """Return a smaller network without dead channels; and parameters and MACs of the dense network and of this one.

    `output_change` is the largest change of an output for some of the images, relative to the largest output.
    """
    pixels = images[np.random.default_rng(0).permutation(len(images))[:_EXAMPLES]].pixels
    device = next(masked.module.parameters()).device
    batch = masked.prepare(torch.from_numpy(pixels).to(device))
    before = class_scores(masked.module.eval()(batch))
    try:
        smaller = replace(masked, module=remove_dead_channels(masked.module, [batch]))
    except ValueError as error:
        raise UserError(" ".join(str(error).split())) from error
    after = class_scores(smaller.module.eval()(batch))
    change = float((after - before).abs().max() / before.abs().max().clamp_min(1e-30))
    params = [count_params(one.module) for one in (dense, smaller)]
    return smaller, {"params": params, "macs": [count_macs(one) for one in (dense, smaller)], "output_change": change}
