"""ProbCover: balls around the selected images that contain as many images as possible."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from shoestring.config.values import check_range
from shoestring.selection.algorithms.clusters import kmeans
from shoestring.selection.algorithms.coverage import greedy_coverage
from shoestring.selection.algorithms.similarity import Floats, inner_products, similarity, slices
from shoestring.selection.pool import NO_INDICES, Pool

_PURITY = 0.95  # fraction of the balls without an image of another cluster
_MAX_CLUSTERS = 50  # if the number of classes is unknown
_SAMPLE = 2000  # balls from which purity is estimated


def prob_cover(
    pool: Pool,
    size: int,
    *,
    rng: np.random.Generator,
    already: NDArray[np.int64] = NO_INDICES,
    radius: float = 0.0,
) -> NDArray[np.int64]:
    """Maximum number of images within one radius of the selected ones (ProbCover, Yehuda et al. 2022).

    Greedy: each step covers as many uncovered images as possible. Radius 0 means the largest radius at which 95 % of
    all balls are pure, as in the paper: all images of a pure ball are in one k-means cluster. There are as many
    clusters as classes, or, without labels, `size` clusters, up to 50. Once all images are covered, the rest is random.
    Raises `UserError` for a negative radius.
    """
    check_range(radius, "prob_cover's radius", ge=0)
    features = pool.features
    if not radius:
        count = min(max(2, len(pool.images.classes) or min(size, _MAX_CLUSTERS)), len(features))
        radius = pure_radius(features, kmeans(features, count, rng)[0], rng)
    threshold = np.float32(min(1 - radius**2 / 2, 1 - 1e-6))  # every image is in its own ball despite rounding

    def inside(cosines: Floats) -> Floats:
        return (cosines > threshold).astype(np.float32)

    return greedy_coverage(similarity(features, inside), size, rng=rng, already=already)


def pure_radius(features: Floats, labels: NDArray[np.int64], rng: np.random.Generator) -> float:
    """Largest radius with which 95 % of the balls contain images of one label only.

    A ball is pure up to the distance of the nearest image of another label, so the radius is one of these distances.
    """
    centers = np.arange(len(features))
    if len(features) > _SAMPLE:
        centers = rng.choice(len(features), _SAMPLE, replace=False)
    nearest = np.full(len(centers), -1, dtype=np.float32)  # highest cosine with an image of another label
    for part in slices(len(features), 4096):
        cosines = inner_products(features[centers], features[part])
        cosines[labels[centers][:, None] == labels[part]] = -1
        np.maximum(nearest, cosines.max(1), out=nearest)
    impure = int((1 - _PURITY) * len(centers) + 1e-9)  # number of balls that may be impure
    return float(np.sqrt(max(0, np.sort(2 - 2 * nearest)[impure])))
