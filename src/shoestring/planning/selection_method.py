"""The selection method "auto"."""

from __future__ import annotations

from dataclasses import replace

from shoestring.config import registry
from shoestring.config.recipe import Select
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.planning.model import Network, measured_times
from shoestring.planning.plan import allotment_of
from shoestring.planning.pretrained import SIDES, is_pretrained
from shoestring.planning.proxy import needs_proxy
from shoestring.planning.request import Request
from shoestring.selection.features import feature_side

_EASY_FRACTION = 0.05  # of the images, up to which easy images are best
_MAX_COMPARED = 50_000  # images for which nearest neighbors take seconds, even within a single class
_MAX_FRACTION = 0.8  # of the part of a time budget for selection, for computing features
_MAX_COVERED = 20_000  # images for which exact facility location takes seconds


def choose_selection(request: Request) -> tuple[Select, dict[str, str]]:
    """Return the selection settings with method and features resolved, and the reasons.

    If the network to train is pretrained, images are compared by its features, unless others or a proxy are requested,
    as far as the method needs no proxy then. If there is no time to compute them, the subset is random. Raises
    `UserError` for what needs one class for each image, if they have several labels.
    """
    settings, images, train = request.recipe.select, request.data.train, request.recipe.train
    _check_labels(settings, images)
    pretrained = request.trains and is_pretrained(train)
    resolved, reason = with_method(settings, images, pretrained=pretrained)
    is_open = settings.features is None and not settings.requests_proxy
    if not (pretrained and is_open and needs_proxy(resolved, images)):
        return resolved, {"select": reason}
    source = train.model if train.weights == "pretrained" else f"{train.model}@{train.weights}"
    by_features = replace(resolved, features=source)
    if needs_proxy(by_features, images):
        return resolved, {"select": reason}
    if settings.method == "auto" and _too_slow(request):
        return replace(resolved, method="random"), {"select": "there is no time to compare the images by features"}
    return by_features, {"select": reason, "features": "those of the network to train"}


def _check_labels(settings: Select, images: Images) -> None:
    """Raise `UserError` for what needs one class for each image, if they have several labels."""
    if images.labels is None or images.has_one_class_each:
        return
    given = {
        "--balance": settings.balance not in ("equal", "none"),
        "--within": settings.within is not None,
        "--drop-suspects": settings.drop_suspects,
    }
    if flags := [flag for flag, used in given.items() if used]:
        raise UserError(f"{flags[0]} needs one class for each image, and these have several labels: omit {flags[0]}.")
    if settings.method != "auto":
        needs_proxy(replace(settings, features="any", signals=None), images)


def _too_slow(request: Request) -> bool:
    """Whether computing features takes more than the part of the budget allotted to selection."""
    if not request.timed:
        return False
    images, settings = request.data.train, request.recipe.train
    network = Network(settings.model, {}, side=SIDES[0])
    times = measured_times(network, images, settings, count=request.examples, profiler=request.profiler)
    seconds = len(images) * times.predict * (feature_side(images) / SIDES[0]) ** 2
    return seconds > _MAX_FRACTION * allotment_of(request.budget, "select", count=len(images)).length


def with_method(settings: Select, images: Images, *, pretrained: bool = False) -> tuple[Select, str]:
    """Return the settings with the method "auto" resolved, and the reason for the method.

    It is the best method in benchmarks for what will be trained on the subset: the `learner` of the settings, otherwise
    a head on pretrained features if there are features or `pretrained` weights, otherwise a network from scratch.
    """
    if settings.method != "auto":
        return settings, "as requested"
    method, reason = _choose(settings, images, pretrained)
    return replace(settings, method=method), reason


def describe_method(method: str) -> str:
    """Return the line to log about the method that "auto" resolved to."""
    return f"method {method}: {registry.summary('select', method)}"


def _choose(settings: Select, images: Images, pretrained: bool) -> tuple[str, str]:
    """The best method by number of images and by what is trained on them, and the reason.

    A network trained from scratch learns most from a small subset of easy, diverse images, or, if there are too many
    images to compare, of the easiest ones; for a larger subset, random images are as good at no cost. With pretrained
    features, subsets whose mean is that of their class did best on validation images
    (benchmarks/results/selection_validation.json). Without labels, the subset covers the other images; for many images
    it is selected in one pass.
    """
    assert settings.examples is not None
    covering = "facility_location" if len(images) <= _MAX_COVERED else "streaming"
    if images.labels is None:
        return covering, "the images have no labels"
    default = "features" if pretrained or settings.features is not None else "scratch"
    learner = default if settings.learner == "auto" else settings.learner
    if not images.has_one_class_each:
        several = "the images have several labels each"
        return (covering, several) if learner == "features" else ("random", several)
    if learner == "features":
        return "herding", "best for a head on pretrained features"
    if settings.examples > _EASY_FRACTION * len(images):
        return "random", f"as good as any method for more than {_EASY_FRACTION:.0%} of the images"
    return "d2" if len(images) <= _MAX_COMPARED else "margin", "best for few images and a network from scratch"
