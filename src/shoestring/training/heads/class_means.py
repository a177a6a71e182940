"""Nearest class mean: the weights of a class are the mean of its features."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from shoestring.models.head_modules import CosineHead

_TINY = 1e-6  # length of a mean that points nowhere, and of features that are equal to the center


@torch.no_grad()
def fit_class_means(
    head: CosineHead,
    features: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    sample_weight: NDArray[np.float32] | None = None,
    seed: int = 0,
) -> None:
    """Set the weights of each class to the mean of its features (N, D), centered and scaled to unit length, in place.

    This is the nearest class mean (Mensink et al. 2013; prototypes of Snell et al. 2017) with cosines as similarity and
    the mean of all classes as origin (Wang et al. 2019, "SimpleShot"). `sample_weight` (N,) weights the images. A class
    without images gets a random direction. With several labels per image, those with a label are its class; labels
    and weights are (N, classes).
    """
    from scipy.sparse import csr_matrix

    classes = len(head.cosine.weight)
    weight = np.ones(labels.shape, dtype=np.float32) if sample_weight is None else sample_weight
    if labels.ndim == 2:
        members = csr_matrix((labels * weight).T)
    else:
        members = csr_matrix((weight, (labels, np.arange(len(labels)))), shape=(classes, len(labels)))
    totals = np.asarray(members.sum(1))
    present = totals[:, 0] > 0
    center = (members @ features)[present] / totals[present]
    center = center.mean(0).astype(np.float32)
    sums = members @ _unit(features - center)
    random = np.random.default_rng(seed).normal(size=sums.shape)
    pointing = np.linalg.norm(sums, axis=1, keepdims=True) > _TINY * np.maximum(totals, _TINY)
    directions = _unit(np.where(pointing, sums, random))
    head.center.copy_(torch.from_numpy(center))
    head.cosine.weight.copy_(torch.from_numpy(directions))


def _unit(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), _TINY)
