"""Predict the classes of any number of image files, decoded while the network predicts those before them."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from shoestring.config.paths import expanded
from shoestring.data import Images
from shoestring.data.decode import decode
from shoestring.errors import UserError
from shoestring.models.folding import folded
from shoestring.models.inference import MIN_FOLDED, default_batch_size, log_probabilities
from shoestring.models.model import Model
from shoestring.runs.models import fingerprint, usable_model
from shoestring.runs.prediction_rows import Labeling, Row
from shoestring.runs.prediction_table import PredictionTable
from shoestring.runs.rejection import measure_rejection
from shoestring.runtime.cores import cores
from shoestring.runtime.output_files import check_file

_MAX_BATCH = 256  # images; a batch is predicted while the next ones are decoded
_GROUP = 8  # files that a thread decodes at a time
_BATCHES_AHEAD = 2


class Unreadable(NamedTuple):
    """A file that cannot be predicted."""

    image: str
    reason: str


def predict(  # noqa: PLR0913 (public: keywords with defaults)
    model: Model | str | Path,
    files: Sequence[str | Path],
    *,
    run: str | Path | None = None,
    csv: str | Path | None = None,
    top: int | None = None,
    unknown_below: float | None = None,
    overwrite: bool = False,
    log: Callable[[str], None] = lambda message: None,
    progress: Callable[[int, int, float], None] = lambda done, total, rate: None,
    on_row: Callable[[Row], None] | None = None,
) -> dict[str, Any]:
    """Predict the classes of image files with a model, or the model of a run; one bad file does not stop the others.

    `files` are files, and folders whose images are found recursively. The result has the `images` that were predicted,
    the files that are `unreadable` with reasons, `images_per_second`, and `predictions`: for each image its `top`
    classes with their probabilities, most probable first (default: one, or, if images may have several labels, those of
    at least 50 %, and the probabilities of all). With `csv`, these are written to that file instead; if the
    process is killed, the same call continues where it ended. An image whose most probable class has a probability
    `unknown_below` this number is marked as unknown; `rejection` is then what that does on the validation images of the
    run (of `model` if that is a folder, else `run`): the `coverage`, which is the fraction of images that are not
    unknown, and the `accuracy` on those. `progress` is called with the number of images done, that of all, and images
    per second; `on_row` with each row, which is then not in the result.

    Raises `UserError` for a `top` below 1, an `unknown_below` outside 0..1, a folder without images, an existing `csv`
    (unless `overwrite`), and if none of the files is an image.
    """
    if not isinstance(model, Model):
        run, model = model, usable_model(expanded(model), log)
    file, folder = (None if path is None else expanded(path) for path in (csv, run))
    if file is not None:
        check_file(file, "--csv", overwrite=overwrite)
    labeling = Labeling(model.classes, top, unknown_below, model.task)
    names = list_images(files, log)
    if not names:
        raise UserError("there are no files to predict.")
    rejection = None if unknown_below is None else measure_rejection(folder, model, unknown_below, log)
    key = "" if file is None else fingerprint(model)
    table = PredictionTable(names, labeling, csv=file, key=key, on_row=on_row)
    unreadable, rate = _predict_all(model, labeling, table, progress)
    rows, count = table.finish(dict(unreadable)), table.added + table.resumed
    if not count:
        raise UserError(f"none of the files is an image, the first: {unreadable[0].image}: {unreadable[0].reason}.")
    return {
        "images": count,
        "resumed": table.resumed,
        "unreadable": [bad._asdict() for bad in unreadable],
        "images_per_second": rate,
        "unknown": None if unknown_below is None else table.unknown,
        "rejection": rejection,
        "csv": None if file is None else str(file),
        "predictions": [row.as_dict() for row in rows] if file is None and on_row is None else None,
    }


def _predict_all(
    model: Model, labeling: Labeling, table: PredictionTable, progress: Callable[[int, int, float], None]
) -> tuple[list[Unreadable], float]:
    """Predict the images that the table does not have; return those that are unreadable, and images per second."""
    left, start = table.left, time.monotonic()
    model = folded(model) if len(left) >= MIN_FOLDED else model  # once, not for each batch
    unreadable: list[Unreadable] = []
    rate = 0.0
    for images, probabilities, bad in predict_stream(model, left):
        table.add([labeling.row(image, row) for image, row in zip(images, probabilities)])
        unreadable += bad
        rate = table.added / (time.monotonic() - start)
        progress(table.resumed + table.added + len(unreadable), table.resumed + len(left), rate)
    return unreadable, rate


def predict_stream(
    model: Model, files: Sequence[str]
) -> Iterator[tuple[list[str], NDArray[np.float32], list[Unreadable]]]:
    """Yield batches in order: the readable files, their probabilities (n, classes), and the unreadable files."""
    count = min(_MAX_BATCH, default_batch_size(model))
    with ThreadPoolExecutor(min(cores(), 16)) as pool:
        batches = (files[start : start + count] for start in range(0, len(files), count))
        ahead: deque[list[Future[list[Any]]]] = deque()
        try:
            for batch in batches:
                groups = (batch[start : start + _GROUP] for start in range(0, len(batch), _GROUP))
                ahead.append([pool.submit(_decode_group, model, group) for group in groups])
                if len(ahead) > _BATCHES_AHEAD:
                    yield _predict_batch(model, ahead.popleft())
            while ahead:
                yield _predict_batch(model, ahead.popleft())
        finally:
            pool.shutdown(cancel_futures=True)


def _decode_group(model: Model, files: Sequence[str]) -> list[tuple[str, NDArray[np.uint8] | str]]:
    """Return each file with its pixels, or with the reason why it cannot be read."""
    size, results = model.preprocessing, []
    for file in files:
        try:
            result = decode(expanded(file), resolution=size.resolution, channels=size.channels, fit=size.fit)
        except UserError as error:
            result = str(error)
        results.append((file, result))
    return results


def _predict_batch(
    model: Model, groups: list[Future[list[Any]]]
) -> tuple[list[str], NDArray[np.float32], list[Unreadable]]:
    decoded = [item for group in groups for item in group.result()]
    bad = [Unreadable(file, result) for file, result in decoded if isinstance(result, str)]
    good = [(file, result) for file, result in decoded if not isinstance(result, str)]
    if not good:
        return [], np.zeros((0, len(model.classes)), dtype=np.float32), bad
    files, pixels = zip(*good)
    images = Images(np.stack(pixels), None, model.classes, np.array(files), fingerprint="")
    return list(files), np.exp(log_probabilities(model, images)), bad


def list_images(names: Sequence[str | Path], log: Callable[[str], None]) -> list[str]:
    """Return the files, and the images below the folders, in order and each once.

    Other files in folders are counted in a log message. Raises `UserError` for a folder without images.
    """
    from shoestring.data.formats import looks_like_an_image
    from shoestring.data.scan import files_below

    files: list[str] = []
    for name in map(str, names):
        if not expanded(name).is_dir():
            files.append(name)
            continue
        below, special = files_below(expanded(name))
        images = [file for file in below if looks_like_an_image(Path(file))]
        if not images:
            raise UserError(f"no images in the folder {name}.")
        if others := len(below) + len(special) - len(images):
            log(f"skipped {others:,} {'file' if others == 1 else 'files'} in {name}: no image by name or content")
        files += images
    return list(dict.fromkeys(files))
