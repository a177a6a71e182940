"""Train with the settings of a recipe: plan, then train."""

from __future__ import annotations

from shoestring import Budget, execute
from shoestring.config.recipe import Grow, Prune, Train
from shoestring.data.images import Images
from shoestring.models.model import Model
from shoestring.planning.plan import Planner, allotment_of
from shoestring.planning.profiling import Profiler
from shoestring.runtime.context import Context
from shoestring.training.progress import TrainingSummary


def train(
    images: Images, settings: Train, grow: Grow, *, budget: Budget, context: Context, later: Prune | None = None
) -> tuple[Model, TrainingSummary]:
    """Plan and train a network; return it with a summary. `later` is the pruning that will follow."""
    planner = Planner(settings, grow, Profiler(budget, context), context, later=later)
    planned = planner(images, allotment_of(budget, "train", count=len(images), later=later))
    model, training, _ = execute.train(images, planner, planned, budget=budget)
    return model, training
