"""The input of planning: a recipe, with the answers found so far, images and a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from shoestring.budget import Budget
from shoestring.config.plan import Plan
from shoestring.config.recipe import Recipe
from shoestring.data import Dataset, Images
from shoestring.models.model import Model
from shoestring.planning.profiling import Profiler
from shoestring.planning.proxy import needs_proxy
from shoestring.runtime.context import Context
from shoestring.selection.subset_files import load_subset


@dataclass(frozen=True)
class Request:
    """A recipe to plan, for the images of a data set.

    `steps` are those that are still to be done. `model` is the finished model to start from, None if one is trained.
    `stored` is the plan of the interrupted run that is resumed.
    """

    recipe: Recipe
    data: Dataset
    profiler: Profiler
    steps: Sequence[str]
    model: Model | None = None
    stored: Plan | None = None
    weights_requested: bool = False  # not by default

    @property
    def budget(self) -> Budget:
        """The budget to divide among the steps."""
        return self.profiler.budget

    @property
    def context(self) -> Context:
        """Device, seed and logs."""
        return self.profiler.context

    @property
    def timed(self) -> bool:
        """Whether the budget is a time."""
        return self.budget.unit == "seconds"

    @property
    def trains(self) -> bool:
        """Whether a network is trained, so that one must be chosen."""
        return "train" in self.steps and self.model is None

    @property
    def selects(self) -> bool:
        """Whether images are still to be selected."""
        return "select" in self.steps and self.recipe.select.examples is not None

    @property
    def prunes(self) -> bool:
        """Whether the network is pruned."""
        return "prune" in self.steps and self.recipe.prune.enabled

    @property
    def examples(self) -> int:
        """Number of images to train on."""
        return count_training_images(self.recipe, self.data.train)

    @property
    def trains_proxy(self) -> bool:
        """Whether a proxy is trained for the selection; its method is not "auto"."""
        images = self.data.train
        return self.selects and images.labels is not None and needs_proxy(self.recipe.select, images)


def count_training_images(recipe: Recipe, images: Images) -> int:
    """Return the number of images that a network is trained on, of these."""
    if recipe.select.subset is not None:
        return len(load_subset(recipe.select.subset, images))
    return min(recipe.select.examples or len(images), len(images))
