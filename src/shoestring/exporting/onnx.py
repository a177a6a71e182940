"""ONNX: one file that maps images to probabilities, with its metadata, and a script that reads it."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from shoestring.errors import UserError
from shoestring.exporting.metadata import INPUT, OUTPUT, Metadata
from shoestring.exporting.pipeline import Pipeline
from shoestring.exporting.requirements import require
from shoestring.runtime.files import atomic_write, write_text
from shoestring.runtime.quiet import quiet

_OPSET = 18  # of ONNX 1.13 (2022); every runtime in use reads it
_MAX_BATCH, _MAX_SIDE = 1 << 20, 1 << 16  # of the exported program
_ABOUT = "Predict the classes of images (uint8, N x H x W x {channels}) in a file: python {script} images.npy"
_SCRIPT = """{about!r}
import json, pathlib, sys, numpy as np, onnxruntime
session = onnxruntime.InferenceSession(str(pathlib.Path(__file__).with_name({file!r})))
classes = json.loads(session.get_modelmeta().custom_metadata_map["classes"])
for row in session.run(None, {{"{input}": np.load(sys.argv[1])}})[0]:
    print(classes[row.argmax()], row.max())
"""


def trace(pipeline: Pipeline) -> torch.export.ExportedProgram:
    """Return the program of a pipeline, for any number and size of images.

    Raises `UserError` if it has none, because the Python code of the network depends on the values of tensors.
    """
    side, channels = pipeline.size.resolution, pipeline.size.channels
    example = torch.zeros(3, side + 7, side + 4, channels, dtype=torch.uint8)  # no two sizes are equal
    dim = torch.export.Dim
    height, width = (dim(name, max=_MAX_SIDE) for name in ("height", "width"))
    sizes = {0: dim("batch", max=_MAX_BATCH), 1: height, 2: width, 3: dim.STATIC}
    try:
        with torch.no_grad(), quiet():
            return torch.export.export(pipeline, (example,), dynamic_shapes=(sizes,), strict=False)
    except Exception as error:  # of a dozen kinds, all of them about the code of the network
        raise UserError(f"this network cannot be exported: {_first_line(error)}") from error


def to_onnx(program: torch.export.ExportedProgram) -> Any:
    """Return the `onnx.ModelProto` of a program. Raises `UserError` for an operation that ONNX does not have."""
    require("onnx")
    require("onnxscript")
    try:
        with torch.no_grad(), quiet():
            exported = torch.onnx.export(
                program,
                (),
                input_names=[INPUT],
                output_names=[OUTPUT],
                opset_version=_OPSET,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # as above
        raise UserError(f"this network cannot be exported to ONNX: {_first_line(error)}") from error
    assert exported is not None, "a program, as no file was named"
    return exported.model_proto


def with_metadata(proto: Any, metadata: Metadata) -> Any:
    """Write the metadata into an `onnx.ModelProto`, and return it."""
    onnx = require("onnx")
    proto.producer_name, proto.producer_version = "shoestring", metadata.version
    onnx.helper.set_model_props(proto, metadata.properties())
    return proto


def save(proto: Any, file: Path) -> None:
    """Write an ONNX file, atomically."""
    with atomic_write(file) as temporary:
        temporary.write_bytes(proto.SerializeToString())


def write_script(file: Path, metadata: Metadata) -> Path:
    """Write the script that predicts with an ONNX file, by onnxruntime and numpy alone, beside it; return its path."""
    script = file.with_name(script_name(file))
    about = _ABOUT.format(channels=metadata.channels, script=shlex.quote(script.name))
    write_text(script, _SCRIPT.format(about=about, file=file.name, input=INPUT))
    return script


def script_name(file: Path) -> str:
    """Return the name of the script of an ONNX file."""
    return f"predict_{file.stem}.py"


class Session:
    """An ONNX file or `onnx.ModelProto` in ONNX Runtime, on so many threads of the CPU (0: all)."""

    def __init__(self, model: Path | Any, *, threads: int = 0) -> None:
        runtime = require("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 3  # errors
        options.intra_op_num_threads = threads
        source = str(model) if isinstance(model, Path) else model.SerializeToString()
        self._session = runtime.InferenceSession(source, options, providers=["CPUExecutionProvider"])

    def __call__(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return probabilities (N, classes) of images (N, H, W, C)."""
        return self._session.run([OUTPUT], {INPUT: images})[0]

    @property
    def properties(self) -> dict[str, str]:
        """Metadata of the file as text."""
        return self._session.get_modelmeta().custom_metadata_map


def _first_line(error: Exception) -> str:
    cause: BaseException = error
    while cause.__cause__ is not None:
        cause = cause.__cause__
    return " ".join(next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__).split())
