"""Load what the pictures of a report are made from: the images of a run and its network."""

from __future__ import annotations

from collections.abc import Callable

from shoestring.config.model_files import model_folder
from shoestring.data import Dataset, Images, load
from shoestring.errors import UserError
from shoestring.models.model import Model
from shoestring.runs.directory import RunDir
from shoestring.runs.gallery import Sources, indices_of
from shoestring.runs.inputs import check_same_images
from shoestring.runs.loading import evaluated, load_arguments
from shoestring.runs.validate import read_recipe
from shoestring.selection import Subset
from shoestring.selection.subset_files import load_subset


def sources_of(data: Dataset, images: Images, subset: Subset | None, model: Model | None) -> Sources:
    """Return what the pictures of a run are made from: its data, training images, selection and final model."""
    chosen = None if len(images) == len(data.train) else indices_of(data.train, images)
    return Sources(
        data.train, chosen, data.test, model, ranked=subset is not None and subset.method not in ("list", "random")
    )


def load_sources(
    folder: RunDir, *, progress: Callable[[int, int], None], model: Model | None = None
) -> tuple[Sources | None, str]:
    """Load the images of a run, or return a sentence for the report if they are not available.

    `model` is the network of the run, by default the final one.
    """
    recipe = read_recipe(folder)
    if recipe is None:
        return None, "No pictures are shown, as the run does not record its data."
    try:
        data = evaluated(recipe, load(**load_arguments(recipe, folder), progress=progress))
        check_same_images(folder, data.train)
        subset = _subset(folder, recipe.select.subset, data.train)
    except (UserError, OSError) as error:
        return None, f"No pictures are shown, as the images cannot be loaded: {error}"
    images = data.train if subset is None else data.train[subset]
    location = model_folder(folder.path)
    if model is None and location is not None:
        model = Model.load(location)
    return sources_of(data, images, subset, model), ""


def _subset(folder: RunDir, given: str | None, images: Images) -> Subset | None:
    own = folder / "select" / "subset.json"
    if given is not None:
        return load_subset(given, images)
    return Subset.load(own) if own.exists() else None
