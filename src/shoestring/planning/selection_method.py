"""The selection method "auto"."""

from __future__ import annotations

from dataclasses import replace

from shoestring.config.recipe import Select
from shoestring.data.images import Images

_EASY_FRACTION = 0.05  # of the images, up to which selecting easy ones pays
_MAX_COMPARED = 50_000  # images up to which nearest neighbors take seconds, even within a single class
_MAX_COVERED = 20_000  # images up to which exact facility location does


def with_method(settings: Select, images: Images, *, pretrained: bool = False) -> Select:
    """Return the settings with the selection method chosen.

    The method "auto" is the one that measures best for what will be trained on the subset: as requested, else a head on
    pretrained features if there are features or `pretrained` weights to train from, else a network from scratch.
    """
    return replace(settings, method=_choose(settings, images, pretrained)) if settings.method == "auto" else settings


def _choose(settings: Select, images: Images, pretrained: bool) -> str:
    """The best method by number of images and by what is trained on them.

    A network trained from scratch learns most from a small subset of easy, diverse images, or, of too many images to
    compare, from the easiest ones; for a larger subset, random images are as good and cost nothing. With pretrained
    features, subsets whose mean is that of their class did best on validation images
    (benchmarks/results/selection_validation.json). Without labels the subset covers the other images; of many images it
    is selected in one pass.
    """
    assert settings.examples is not None
    if images.labels is None:
        return "facility_location" if len(images) <= _MAX_COVERED else "streaming"
    guess = "features" if pretrained or settings.features is not None else "scratch"
    if (guess if settings.learner == "auto" else settings.learner) == "features":
        return "herding"
    if settings.examples > _EASY_FRACTION * len(images):
        return "random"
    return "d2" if len(images) <= _MAX_COMPARED else "margin"
