"""The formats, and the packages that they need beyond those of training; imports neither torch nor numpy."""

from __future__ import annotations

from functools import partial

from shoestring.errors import unknown
from shoestring.runtime import extras

_ONNX = ("onnx", "onnxscript", "onnxruntime")
FORMATS = {"onnx": _ONNX, "torch-export": (), "safetensors": (), "triton": _ONNX}  # format -> its packages


def check_format(format: str) -> None:
    """Raise `UserError` for an unknown format, and if a package that it needs is not installed."""
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    extras.check_installed(FORMATS[format], what="exporting", extra="export")


require = partial(extras.require, what="exporting", extra="export")  # import a module of one of these packages
