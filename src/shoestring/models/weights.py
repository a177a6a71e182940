"""Tensors in `.safetensors` files, and loading them into networks that they may not fit."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from shoestring.config.model_files import DESCRIPTION_FILE
from shoestring.errors import UserError


def read_tensors(file: Path) -> dict[str, Tensor]:
    """Read the tensors of a `.safetensors` file by name. Raises `UserError` if it is missing, broken or holds NaN."""
    try:
        state = load_file(file)
    except FileNotFoundError:
        raise UserError(f"no file {file}.") from None
    except (SafetensorError, OSError) as error:
        raise UserError(f"{file} is not a readable safetensors file: {error}.") from None
    for name, tensor in state.items():
        if tensor.is_floating_point() and tensor.isnan().any():
            raise UserError(f"{file} is corrupted: '{name}' holds NaN (not a number).")
    return state


def load_tensors(module: nn.Module, state: dict[str, Tensor], *, source: Path) -> None:
    """Load every tensor. Raises `UserError` with the file and the first tensor that does not fit."""
    try:
        module.load_state_dict(state)
    except RuntimeError as error:
        raise UserError(f"{source} does not fit the model: {_first_line(error)}") from None


@contextmanager
def blaming_tensors(file: Path) -> Iterator[None]:
    """Turn any error of the block into a `UserError`: the tensors of the file do not match its description."""
    try:
        yield
    except Exception as error:  # networks raise a dozen kinds if sizes do not match
        reason = _first_line(error)
        raise UserError(
            f"{file} does not fit the model that {DESCRIPTION_FILE} beside it describes: {reason}"
        ) from None


def _first_line(error: Exception) -> str:
    """Return the first line of an error; of a state dict that does not fit, the first tensor instead of the title."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    first = lines[1] if lines[0].startswith("Error(s) in loading") and len(lines) > 1 else lines[0]
    return textwrap.shorten(first, 160)
