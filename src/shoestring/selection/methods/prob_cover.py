"""ProbCover: balls around the chosen images that hold as many others as can be."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.clusters import clusters
from shoestring.selection.algorithms.coverage import cover
from shoestring.selection.algorithms.similarity import Floats, products, similarity, slices
from shoestring.selection.pool import NOTHING, Pool

_PURE = 0.95  # share of the balls without an image of another cluster
_CLUSTERS = 50  # at most, where nobody says how many classes there are
_SAMPLE = 2000  # balls that are looked at


def prob_cover(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NOTHING,
    radius: float = 0.0,
) -> NDArray[np.int64]:
    """Images whose balls of one radius hold most images together (ProbCover, Yehuda et al. 2022).

    Greedy: each next image brings most images into a ball that are in none yet. Radius 0 takes, as the paper does, the
    largest with which 95 % of all balls are pure: hold images of one k-means cluster only, with as many clusters as
    the data has classes, or without labels as many as images are wanted, up to 50. When all images are in a ball the
    seed takes the rest. Raises `UserError` for a negative radius.
    """
    check_range(radius, "prob_cover's radius", ge=0)
    features = pool.features
    if not radius:
        count = min(max(2, len(pool.images.classes) or min(size, _CLUSTERS)), len(features))
        radius = pure_radius(features, clusters(features, count, rng)[0], rng)
    least = np.float32(min(1 - radius**2 / 2, 1 - 1e-6))  # every image is in its own ball, whatever the rounding

    def inside(cosines: Floats) -> Floats:
        return (cosines > least).astype(np.float32)

    return cover(similarity(features, inside), size, rng=rng, already=already)


def pure_radius(features: Floats, labels: NDArray[np.int64], rng: np.random.Generator) -> float:
    """The largest radius with which 95 % of the balls hold images of one label only.

    A ball is pure up to the distance of the nearest image of another label, so the radius is one of these distances.
    """
    centres = np.arange(len(features))
    if len(features) > _SAMPLE:
        centres = rng.choice(len(features), _SAMPLE, replace=False)
    nearest = np.full(len(centres), -1, dtype=np.float32)  # highest cosine with an image of another label
    for part in slices(len(features), 4096):
        cosines = products(features[centres], features[part])
        cosines[labels[centres][:, None] == labels[part]] = -1
        np.maximum(nearest, cosines.max(1), out=nearest)
    impure = int((1 - _PURE) * len(centres) + 1e-9)  # balls that may be
    return float(np.sqrt(max(0, np.sort(2 - 2 * nearest)[impure])))
