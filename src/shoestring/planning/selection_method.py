"""The selection method "auto"."""

from __future__ import annotations

from shoestring.config.recipe import Select
from shoestring.data.images import Images

_EASY_FRACTION = 0.05  # of the images, up to which selecting easy ones pays
_MAX_COMPARED = 50_000  # images up to which nearest neighbors take seconds, even within a single class
_MAX_COVERED = 20_000  # images up to which exact facility location does


def choose_method(settings: Select, images: Images) -> str:
    """The requested selection method; "auto" is the one that measures best for what will be trained on the images.

    A network trained from scratch learns most from a small subset of easy, diverse images, or, of too many images to
    compare, from the easiest ones; for a larger subset, random images are as good and cost nothing. With pretrained
    features, subsets whose mean is that of their class did best on validation images
    (benchmarks/results/selection_validation.json). Without labels the subset covers the other images; of many images it
    is selected in one pass.
    """
    if settings.method != "auto":
        return settings.method
    assert settings.examples is not None
    if images.labels is None:
        return "facility_location" if len(images) <= _MAX_COVERED else "streaming"
    if learner(settings) == "features":
        return "herding"
    if settings.examples > _EASY_FRACTION * len(images):
        return "random"
    return "d2" if len(images) <= _MAX_COMPARED else "margin"


def learner(settings: Select) -> str:
    """What is trained on the images: as requested, else "features" if there are pretrained ones, else "scratch"."""
    if settings.learner != "auto":
        return settings.learner
    return "features" if settings.features is not None else "scratch"
