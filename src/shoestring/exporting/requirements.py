"""The formats, and the packages that they need beyond those of training; imports neither torch nor numpy."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from shoestring.errors import UserError, unknown

_ONNX = ("onnx", "onnxscript", "onnxruntime")
FORMATS = {"onnx": _ONNX, "torch-export": (), "safetensors": (), "triton": _ONNX}  # format -> its packages


def check_format(format: str) -> None:
    """Raise `UserError` for an unknown format, and if a package that it needs is not installed."""
    if format not in FORMATS:
        raise unknown("format", format, FORMATS)
    for name in FORMATS[format]:
        if importlib.util.find_spec(name) is None:
            raise _missing(name)


def require(name: str) -> ModuleType:
    """Import a package of the extra `export`.

    Raises `UserError`, with the command that installs it, if it is missing.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if error.name != package:
            raise
        raise _missing(package) from None


def _missing(name: str) -> UserError:
    return UserError(f'exporting needs another package, {name}: pip install "shoestring[export]".')
