"""Writing a model in each of the formats."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shoestring.config.model_files import DESCRIPTION_FILE, TENSORS_FILE
from shoestring.errors import UserError
from shoestring.exporting import onnx, triton
from shoestring.exporting.metadata import Metadata
from shoestring.exporting.parity import Predict
from shoestring.exporting.pipeline import Pipeline
from shoestring.models.model import Model
from shoestring.models.tta import tta_modes
from shoestring.runtime.files import atomic_write
from shoestring.runtime.quiet import quiet

SUFFIXES = {"onnx": ".onnx", "torch-export": ".pt2", "safetensors": "", "triton": ""}  # of files; others are folders
_DTYPES = {"float32": torch.float32, "float16": torch.float16}
METADATA_FILE = "metadata.json"  # inside a file of `torch.export`


@dataclass(frozen=True)
class Target:
    """What to write: a format, the precision ("float32", "float16" or "int8"), and the file or folder `out`.

    `name` is that of the model in a repository. Raises `UserError` for a precision that the format does not have, and
    for a file with another suffix than that of the format.
    """

    format: str
    precision: str
    out: Path
    name: str

    def __post_init__(self) -> None:
        if self.precision == "int8" and self.format not in ("onnx", "triton"):
            raise UserError(f"--int8 quantizes ONNX files, not {self.format}: choose --format onnx or triton.")
        suffix = SUFFIXES[self.format]
        if suffix and self.out.suffix != suffix:
            raise UserError(f"{self.out} is not the name of a file of this format: it ends in {suffix}.")

    @property
    def folder(self) -> Path:
        """Folder that the files are written to."""
        return self.out.parent if SUFFIXES[self.format] else self.out

    @property
    def files(self) -> list[str]:
        """Paths of the files in the folder, the model first."""
        if self.format == "onnx":
            return [self.out.name, onnx.script_name(self.out)]
        if self.format == "triton":
            return triton.files(self.name)
        return [self.out.name] if self.format == "torch-export" else [TENSORS_FILE, DESCRIPTION_FILE]


def describe(model: Model, *, precision: str, accuracy: dict[str, Any] | None) -> Metadata:
    """Return the metadata of a model's export."""
    from shoestring import __version__

    size = model.preprocessing
    return Metadata(
        classes=model.classes,
        resolution=size.resolution,
        channels=size.channels,
        fit=size.fit,
        mean=size.mean,
        std=size.std,
        temperature=model.temperature,
        tta=tta_modes(size)[0],
        precision=precision,
        model=model.name,
        parameters=sum(weight.numel() for weight in model.module.parameters()),
        version=__version__,
        task=model.task.name,
        accuracy=accuracy,
    )


def pipeline(model: Model, precision: str) -> Pipeline:
    """Return what is exported of a model; int8 is made of float32."""
    return Pipeline(model, tta=tta_modes(model.preprocessing)[0], dtype=_DTYPES.get(precision, torch.float32))


def predictor(program: torch.export.ExportedProgram) -> Predict:
    """Return what a program predicts."""
    module = program.module()

    def predict(images: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.no_grad():
            return module(torch.from_numpy(images)).numpy()

    return predict


def write_torch(program: torch.export.ExportedProgram, target: Target, folder: Path, metadata: Metadata) -> Predict:
    """Write a program that PyTorch alone can load, with its metadata; return what the file predicts."""
    file = folder / target.files[0]
    content = {METADATA_FILE: json.dumps(metadata.properties())}
    with atomic_write(file) as temporary, temporary.open("wb") as out, quiet():
        torch.export.save(program, out, extra_files=content)
    with file.open("rb") as saved:
        return predictor(torch.export.load(saved))


def write_safetensors(model: Model, target: Target, folder: Path) -> Predict:
    """Write tensors and description as `Model.save` does, the tensors in the precision; return what they predict."""
    module = copy.deepcopy(model.module).to(_DTYPES[target.precision])
    replace(model, module=module).save(folder)
    return Model.load(folder).predict_proba


def write_onnx(proto: Any, target: Target, folder: Path, metadata: Metadata) -> Predict:
    """Write an ONNX file with its script, or a repository with it; return what the file predicts."""
    file = folder / (triton.model_file(target.name) if target.format == "triton" else target.out.name)
    onnx.save(onnx.with_metadata(proto, metadata), file)
    if target.format == "triton":
        triton.write_repository(folder, target.name, metadata)
    else:
        onnx.write_script(file, metadata)
    return onnx.Session(file)
