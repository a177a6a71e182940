"""Features from a file or a pretrained network, instead of those of the proxy model."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoestring.budget import Budget
from shoestring.config.model_files import model_folder
from shoestring.config.paths import TIMM, timm_network
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.models.features import are_cached, cached_features
from shoestring.models.inference import embed
from shoestring.models.model import Model, build
from shoestring.models.preprocessing import Preprocessing
from shoestring.models.timm import check_name, has_pretrained, pretrained_input
from shoestring.runtime.context import Context
from shoestring.runtime.precision import low_precisions
from shoestring.selection.algorithms.rows import StoredRows, as_stored
from shoestring.selection.algorithms.similarity import Indices, slices

_ROWS = 8192  # rows of a file that are read at once
_NORM_TOLERANCE = 2e-3  # deviation from unit length that is ignored (float16 rounds by less)
_MIN_SIDE, _MAX_SIDE = 96, 128  # pixels; smaller images are enlarged, as networks were pretrained on larger ones
_MAX_FRACTION = 0.8  # of the remaining time, for computing features
_TINY = 1e-12  # length of features that are zero
_TIMED = 64  # images on which a network is timed


def load_features(source: str, images: Images, budget: Budget, context: Context) -> StoredRows:
    """Features (N, D) of unit length from an .npy file, a model or run folder, or a timm model.

    `source` is the path, or timm:NAME with pretrained weights, or timm:NAME@FILE with those of a .safetensors file. An
    .npy file has one row for each of the images, or for each image of the source's train split. Features of a network
    are cached. Raises `UserError` for files that do not match the images, for rows that are zero or not finite and for
    models that cannot be loaded; `BudgetTooSmall` if computing the features takes longer than the time remaining.
    """
    if source.lower().endswith(".npy"):
        return _from_file(Path(source), images)
    model = _load_network(source, images)
    exact = budget.unit != "seconds"  # reproducible runs must not depend on which precision is faster
    variant = "float32" if exact else ""
    if are_cached(model, images, variant=variant):
        context.log(f"features: {source}, cached")
    compute = partial(_extract, model, images, budget, context)
    rows = as_stored(cached_features(model, images, compute, variant=variant))
    return rows.scaled(1 / np.maximum(_lengths(rows), _TINY))


def _from_file(file: Path, images: Images) -> StoredRows:
    try:
        values = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"cannot read features from {file}: {error}.") from None
    if values.ndim != 2 or values.dtype.kind != "f" or not values.shape[1]:
        raise UserError(f"{file} holds {values.dtype} {values.shape}, but one row of floats per image is expected.")
    of_train_split = len(values) == len(images.store) != len(images)
    rows = as_stored(values, images.rows if of_train_split else None)
    if len(rows) != len(images):
        alternative = f" (or {len(images.store):,}, all of train)" if len(images.store) != len(images) else ""
        raise UserError(f"{file} has {len(rows):,} rows, but there are {len(images):,} images{alternative}.")
    return _normalized(rows, file, images.rows if of_train_split else np.arange(len(rows)))


def _normalized(rows: StoredRows, file: Path, numbers: Indices) -> StoredRows:
    """The rows, scaled to unit length on reading; `numbers` (N,) are their row numbers in the file."""
    lengths = _lengths(rows)
    wrong = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(wrong):
        problem = "zero" if lengths[wrong[0]] == 0 else "not finite"
        raise UserError(f"{len(wrong):,} rows of {file} are invalid: row {numbers[wrong[0]]} is {problem}.")
    return rows if np.abs(lengths - 1).max() < _NORM_TOLERANCE else rows.scaled(1 / lengths)


def _lengths(rows: StoredRows) -> NDArray[np.float64]:
    """Return the length (N,) of each row."""
    lengths = np.empty(len(rows))
    for part in slices(len(rows), _ROWS):
        block = rows.take(np.arange(part.start, part.stop)).read()
        lengths[part] = np.sqrt(np.einsum("nd,nd->n", block, block, dtype=np.float64))
    return lengths


def feature_side(images: Images) -> int:
    """Return the side in pixels of the input that features of pretrained networks are computed from."""
    return min(max(images.shape[0], _MIN_SIDE), _MAX_SIDE)


def _load_network(source: str, images: Images) -> Model:
    network = timm_network(source)
    if network is None:
        folder = model_folder(Path(source))
        if folder is None:
            raise UserError(f"no features in {source}: pass an .npy file, a model or run folder, or timm:NAME.")
        return Model.load(folder)
    name, file = network
    check_name(name)
    if not has_pretrained(name):
        raise UserError(f"timm model '{name}' has no pretrained weights. Use another one, or a model folder.")
    mean, std, interpolation, fixed = pretrained_input(name)
    side = fixed or feature_side(images)
    preprocessing = Preprocessing(side, len(mean), mean, std, interpolation=interpolation, fit=images.fit)
    classes = images.classes or ("any",)
    return build(TIMM + name, classes=classes, preprocessing=preprocessing, weights=file or "pretrained")


def _extract(model: Model, images: Images, budget: Budget, context: Context) -> NDArray[np.float32]:
    """Features of the images, in the faster precision if time is limited. Refused up front if they take too long."""
    model.module.to(context.device)
    sample = images[: min(_TIMED, len(images))]
    seconds = {}
    device = context.device.partition(":")[0]
    for precision in ("float32", *(low_precisions(device) if budget.unit == "seconds" else ())):
        embed(model, sample[:1], precision=precision)  # warm-up
        start = time.monotonic()
        embed(model, sample, precision=precision)
        seconds[precision] = time.monotonic() - start
    precision = min(seconds, key=seconds.__getitem__)
    needed = seconds[precision] / len(sample) * len(images)
    available = _MAX_FRACTION * budget.remaining
    if budget.unit == "seconds" and needed > available:
        total = budget.total * needed / max(available, 1e-9)
        raise budget.too_small(total, why=f"computing features of {len(images):,} images takes about {needed:.0f} s")
    context.log(f"features: {model.name} at {model.preprocessing.resolution} px, {precision}, about {needed:.0f} s")
    features, _ = embed(
        model,
        images,
        precision=precision,
        normalize=False,
        progress=lambda fraction: context.on_progress("features", fraction, {}),
    )
    return features
