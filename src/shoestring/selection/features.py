"""What images are compared by when it is not the proxy: rows of a file, or what a pretrained network sees in them."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from shoestring.budget import Budget
from shoestring.data.cache import cache_root, writing
from shoestring.data.images import Images
from shoestring.errors import UserError
from shoestring.models.inference import embed
from shoestring.models.model import DESCRIPTION, TENSORS, Model, Preprocessing, build, model_folder
from shoestring.models.timm import PREFIX, check_name
from shoestring.runtime.context import Context
from shoestring.runtime.files import atomic_write
from shoestring.selection.algorithms.rows import Stored, stored
from shoestring.selection.algorithms.similarity import Places, slices

_ROWS = 8192  # rows of a file that are looked at together
_UNIT = 2e-3  # how far from 1 the length of a row may be to count as 1 (float16 rounds by less)
_SMALLEST_SIDE = 96  # pixels that smaller images are enlarged to, because pretrained networks have seen larger ones
_TIMED = 64  # images that the speed of a network is told from


def features_of(source: str, images: Images, budget: Budget, context: Context) -> Stored:
    """Features (N, D) of unit length: of an .npy file, a model or run folder, or a network timm:NAME with its weights.

    timm:NAME@FILE takes those of a .safetensors file. A file of features has a row for each of the images, or for each
    image of the source's train split. What a network sees is kept in the image cache. Raises `UserError` for files of
    other images, with rows that are zero or not numbers, and for networks that cannot be had; `BudgetTooSmall` when
    looking at all images takes longer than there is.
    """
    if source.lower().endswith(".npy"):
        return _of_file(Path(source), images)
    model, digest = _network(source, images)
    exact = budget.unit != "seconds"  # a counted run does not depend on which precision is faster today
    file = cache_root() / "features" / f"{_hash(images.fingerprint, digest, str(exact))}.npy"
    if file.exists():
        context.log(f"features: {source}, looked at before")
    else:
        found = _seen(model, images, budget, context)
        with writing(file.parent), atomic_write(file) as temporary, temporary.open("wb") as out:
            np.save(out, found)
    return stored(np.load(file, mmap_mode="r"))


def _of_file(file: Path, images: Images) -> Stored:
    try:
        values = np.load(file, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise UserError(f"cannot read features from {file}: {error}.") from None
    if values.ndim != 2 or values.dtype.kind != "f" or not values.shape[1]:
        raise UserError(f"{file} holds {values.dtype} {values.shape}, and a row of floats for each image is expected.")
    part = len(values) == len(images.store) != len(images)
    rows = stored(values, images.rows if part else None)
    if len(rows) != len(images):
        whole = f" (or {len(images.store):,}, all of train)" if len(images.store) != len(images) else ""
        raise UserError(f"{file} has {len(rows):,} rows, and there are {len(images):,} images{whole} to choose from.")
    return _unit(rows, file, images.rows if part else np.arange(len(rows)))


def _unit(rows: Stored, file: Path, numbers: Places) -> Stored:
    """The rows where they are, scaled to unit length when they are read; `numbers` (N,) are theirs in the file."""
    lengths = np.empty(len(rows))
    for part in slices(len(rows), _ROWS):
        block = rows.part(np.arange(part.start, part.stop)).read()
        lengths[part] = np.sqrt(np.einsum("nd,nd->n", block, block, dtype=np.float64))
    wrong = np.flatnonzero(~np.isfinite(lengths) | (lengths == 0))
    if len(wrong):
        what = "zero" if lengths[wrong[0]] == 0 else "not finite"
        raise UserError(f"{len(wrong):,} rows of {file} cannot be compared: row {numbers[wrong[0]]} is {what}.")
    return rows if np.abs(lengths - 1).max() < _UNIT else rows.scaled(1 / lengths)


def _network(source: str, images: Images) -> tuple[Model, str]:
    """The network, and what tells it and its weights from others."""
    if not source.startswith(PREFIX):
        folder = model_folder(Path(source))
        if folder is None:
            raise UserError(f"no features in {source}: give an .npy file, a model or run folder, or timm:NAME.")
        return Model.load(folder), _hash((folder / TENSORS).read_bytes(), (folder / DESCRIPTION).read_bytes())
    import timm

    name, _, file = source.removeprefix(PREFIX).partition("@")
    check_name(name)
    about = timm.get_pretrained_cfg(name)
    if about is None:
        raise UserError(f"timm model '{name}' has no pretrained weights. Take another, or a model folder.")
    fixed, usual = about.fixed_input_size, about.input_size[1]
    side = usual if fixed else max(images.shape[0], min(usual, _SMALLEST_SIDE))
    prepared = Preprocessing(side, about.input_size[0], tuple(about.mean), tuple(about.std))
    classes = images.classes or ("any",)
    model = build(PREFIX + name, classes=classes, preprocessing=prepared, weights=file or "pretrained")
    weights = Path(file).read_bytes() if file else str(about.tag)
    return model, _hash(f"{name} {side} timm {timm.__version__}", weights)


def _seen(model: Model, images: Images, budget: Budget, context: Context) -> NDArray[np.float32]:
    """Features, in the faster precision where time counts; refused before the work when they take too long."""
    model.module.to(context.device)
    few = images[: min(_TIMED, len(images))]
    took = {}
    for precision in ("float32", "bfloat16") if budget.unit == "seconds" else ("float32",):
        embed(model, few[:1], precision=precision)  # the first time is slower
        before = time.monotonic()
        embed(model, few, precision=precision)
        took[precision] = time.monotonic() - before
    precision = min(took, key=took.__getitem__)
    needed = took[precision] / len(few) * len(images)
    window = budget.window("select")
    if budget.unit == "seconds" and needed > window.remaining:
        total = budget.total * needed / max(window.remaining, 1e-9)
        raise budget.refuse(total, why=f"looking at {len(images):,} images takes some {needed:.0f} s")
    context.log(f"features: {model.name} at {model.preprocessing.resolution} px, {precision}, some {needed:.0f} s")
    features, _ = embed(
        model, images, precision=precision, progress=lambda share: context.on_progress("features", share, {})
    )
    return features


def _hash(*parts: str | bytes) -> str:
    digest = hashlib.blake2b(digest_size=12)
    for part in parts:
        digest.update(part if isinstance(part, bytes) else part.encode())
    return digest.hexdigest()
