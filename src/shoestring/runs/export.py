"""Export the model of a run, or a model in memory, and verify that the files predict what it predicts."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from shoestring.config.paths import expanded
from shoestring.config.units import format_percent
from shoestring.data import Images
from shoestring.errors import UserError
from shoestring.exporting.formats import SUFFIXES, Target, describe
from shoestring.exporting.parity import with_tta
from shoestring.exporting.requirements import check_format
from shoestring.exporting.triton import repository_name
from shoestring.exporting.write import write
from shoestring.models.model import Model
from shoestring.models.tta import tta_modes
from shoestring.runs.directory import RunDir
from shoestring.runs.evaluation import load_own
from shoestring.runs.models import usable_model
from shoestring.runs.validate import check_separate, read_recipe
from shoestring.runtime.files import move_files
from shoestring.runtime.output_files import check_folder

_MAX_LOSS = 0.03  # of accuracy by a lower precision, above which a warning is logged


def export(  # noqa: PLR0913 (public: keywords with defaults)
    model: Model | str | Path,
    out: str | Path | None = None,
    *,
    format: str = "onnx",
    fp16: bool = False,
    int8: bool = False,
    tta: str | None = None,
    images: Images | None = None,
    overwrite: bool = False,
    log: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Write a model, or the model of a run, as a file for other programs; return what was written as plain values.

    `format` is "onnx" (a file, with a script beside it), "torch-export" (a file for `torch.export.load`), "safetensors"
    (a folder for `Model.load`) or "triton" (a folder, the model repository of a server). `out` is that file or folder,
    by default in `export/` of the run. All of preprocessing, test-time augmentation and calibration are included:
    except in "safetensors", uint8 images (N, H, W, C) of any size become probabilities (N, classes). With `fp16` the
    network computes, or its tensors are stored, in float16, with `int8` in 8-bit integers; their accuracy is measured
    on labeled images, with a warning if they lose much. `tta` is the test-time augmentation, by default that of the
    model: "none", "flip" or "crops".

    The files are written only if they predict what the model predicts on up to 64 `images`, by default the validation
    images of the run. `int8` needs labeled images, uses up to 256 of them, at most half, to find the ranges of
    activations, and measures its accuracy on others.

    Raises `UserError` for unknown formats and combinations of options that do not exist, a run without a model, a
    network that cannot be exported, missing packages, existing files (unless `overwrite`), and if predictions differ.
    """
    check_format(format)
    if fp16 and int8:
        raise UserError("--fp16 and --int8 are two precisions: choose one.")
    precision = "float16" if fp16 else "int8" if int8 else "float32"
    run = None if isinstance(model, Model) else expanded(model)
    target = _target(format, precision, out, run)
    check_folder(target.folder, target.files, "--out", overwrite=overwrite)
    if run is not None and (recipe := read_recipe(RunDir(run))) is not None:
        check_separate(target.out, recipe.data)
    found = usable_model(run, log) if run is not None else model
    assert isinstance(found, Model)
    found = replace(found, module=copy.deepcopy(found.module).to("cpu"))
    found = with_tta(found, _int8_tta(found, tta, log) if int8 else tta)
    sample = images if images is not None else _own_images(run, found, int8=int8, log=log)
    if int8 and sample is not None:
        _ = sample.targets  # raises an error for images without labels
    metadata = describe(found, precision=precision, accuracy=None if run is None else _run_accuracy(run))
    log("exporting the model")
    target.folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".export-", dir=target.folder) as temporary:
        parity, metadata = write(found, target, Path(temporary), metadata, sample)
        move_files(Path(temporary), target.folder, target.files)
    if metadata.quantization is not None:
        _warn_of_loss(precision, metadata.quantization, log)
    files = [target.folder / name for name in target.files]
    return {
        "format": format,
        "out": str(target.out),
        "files": {str(file): file.stat().st_size for file in files},
        "images": "generated" if sample is None else "given" if images is not None else "of the run",
        "parity": asdict(parity),
        **asdict(metadata),
    }


def _warn_of_loss(precision: str, figures: dict[str, Any], log: Callable[[str], None]) -> None:
    before, after = figures["float_accuracy"], figures["accuracy"]
    if before - after > _MAX_LOSS:
        log(
            f"warning: {precision} predicts {format_percent(after)} of {figures['images']:,} images correctly, and "
            f"float32 {format_percent(before)}: this network does not suit it"
        )


def _int8_tta(model: Model, tta: str | None, log: Callable[[str], None]) -> str | None:
    """Return the test-time augmentation of an int8 export, which cannot have the branch for ambiguous images."""
    if tta == "crops":
        raise UserError("--tta crops is not possible with --int8: choose flip or none.")
    modes = tta_modes(model.preprocessing)
    if tta is None and modes[0] == "crops":
        log(f"int8 has no shifted copies of ambiguous images: using --tta {modes[1]}")
        return modes[1]
    return tta


def _target(format: str, precision: str, out: str | Path | None, run: Path | None) -> Target:
    name = repository_name("model" if run is None else run.resolve().name)
    if out is not None:
        return Target(format, precision, expanded(out), name)
    if run is None:
        raise UserError("a model without a run has no default folder: set --out.")
    suffix = SUFFIXES[format]
    tail = {"float16": "-fp16", "int8": "-int8"}.get(precision, "")
    return Target(format, precision, run / "export" / f"{'model' if suffix else format}{tail}{suffix}", name)


def _own_images(run: Path | None, model: Model, *, int8: bool, log: Callable[[str], None]) -> Images | None:
    """Return the validation images of a run, or training images without any; None if they are not available."""
    if run is None or read_recipe(RunDir(run)) is None:
        if int8:
            raise UserError("--int8 measures activations on labeled images, and none are known: give them with --on.")
        return None
    log("loading images")
    try:
        splits = (load_own(run, split, skip_bad=True, progress=lambda *_: None) for split in ("validation", "train"))
        images = next(split for split in splits if len(split))
    except UserError as error:
        if int8:
            raise
        log(f"the images of the run are not available, so parity is checked on generated ones: {error}")
        return None
    if images.classes != model.classes:
        raise UserError(f"the classes of the data of {run} have changed: restore them, or give images with --on.")
    return images


def _run_accuracy(run: Path) -> dict[str, Any] | None:
    """Return the accuracy that a finished run has measured, and with which test-time augmentation."""
    result = RunDir(run).run.get("result") or {}
    if result.get("accuracy") is None:
        return None
    with RunDir(run).checking_results():
        return {name: result[name] for name in ("split", "images", "accuracy", "interval")} | {
            "tta": result["tta"]["model"]
        }
