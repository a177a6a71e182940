"""Train with the settings of a recipe: plan, then train."""

from __future__ import annotations

from shoestring import Budget, execute
from shoestring.config.recipe import Grow, Prune, Recipe, Train
from shoestring.data.images import Dataset, Images
from shoestring.models.model import Model
from shoestring.planning.resolve import Resolved, resolve
from shoestring.runtime.context import Context
from shoestring.training.progress import TrainingSummary


def train(
    images: Images, settings: Train, grow: Grow, *, budget: Budget, context: Context, later: Prune | None = None
) -> tuple[Model, TrainingSummary, Resolved]:
    """Plan and train a network; return it with a summary and the plan. `later` is the pruning that will follow."""
    recipe = Recipe(train=settings, grow=grow, prune=later or Prune())
    return execute.train(images, resolve(recipe, Dataset.of(images), budget, context), budget=budget)
