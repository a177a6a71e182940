"""Training on images without labels in a run: loading them, and recording how they were used."""

from __future__ import annotations

import shutil
from dataclasses import asdict
from typing import Any

from shoestring import execute
from shoestring.data import Images, load_unlabeled
from shoestring.data.user_images import images_like
from shoestring.models.model import Model
from shoestring.planning.resolve import Resolved
from shoestring.runs.session import Run
from shoestring.training.progress import TrainingSummary


def train(run: Run, images: Images, validation: Images, resolved: Resolved) -> tuple[Model, TrainingSummary, Resolved]:
    """Train as planned, if the recipe sets that also on the images that were not selected; record their use."""
    others = execute.all_unlabeled(resolved, images, _more(run, images))
    model, summary, final, use = execute.train_on_all(
        images, others, resolved, budget=run.budget, validation=validation
    )
    if others is not None:
        run.record(unlabeled=None if use is None else asdict(use))
    return model, summary, final


def _more(run: Run, images: Images) -> Images | None:
    """Load the other images of the recipe that have no labels, in the size of the training images."""
    source = run.recipe.unlabeled_images
    if source is None:
        return None
    side, fit, skip_bad = images.shape[0], images.fit, run.recipe.skip_bad
    run.context.log(f"loading {source}")
    with run.budget.track("load"):
        loaded = load_unlabeled(source, resolution=side, fit=fit, skip_bad=skip_bad, log=run.context.log)
        more = images_like(images, loaded.pixels) if loaded.shape != images.shape else loaded
    run.context.log(f"{len(more):,} more images without labels")
    return more


def unlabeled_result(run: Run) -> dict[str, Any]:
    """Return the results about images without labels; nothing if the recipe does not use them."""
    shutil.rmtree(run.folder / "train" / execute.FIRST_PART, ignore_errors=True)  # the training has ended
    return {"unlabeled": run.folder.run.get("unlabeled")} if run.recipe.train.use_unlabeled else {}
