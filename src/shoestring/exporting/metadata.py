"""What an exported model says about itself, as the text properties of its file; imports neither torch nor numpy."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from shoestring.errors import UserError

INPUT, OUTPUT = "images", "probabilities"  # names of the input and the output of an exported model


@dataclass(frozen=True)
class Metadata:
    """Class names, input and origin of an exported model.

    `task` is "single-label", or "multi-label" where an image may have any number of the classes as labels.

    It maps uint8 images (N, H, W, `channels`) of any size to probabilities (N, classes). Everything that makes images
    squares of `resolution` pixels (`fit`) and normalizes them (`mean`, `std`), the test-time augmentation `tta` and the
    `temperature` are inside the file already. `accuracy` is what the run measured (`split`, `images`, `accuracy` and
    its 95 % `interval`), None if unknown. `quantization` is what int8 or float16 cost (`accuracy` and
    `float_accuracy` on `images`; for int8 also the number of other images for its calibration, and the time of one
    image, `milliseconds` and `float_milliseconds`), None for float32, and for float16 without labeled images.
    """

    classes: tuple[str, ...]
    resolution: int
    channels: int
    fit: str
    mean: tuple[float, ...]
    std: tuple[float, ...]
    temperature: float
    tta: str
    precision: str
    model: str
    parameters: int
    version: str
    task: str = "single-label"
    accuracy: dict[str, Any] | None = None
    quantization: dict[str, Any] | None = None

    def properties(self) -> dict[str, str]:
        """Return the values as text, each one as JSON, as ONNX files store them."""
        return {name: json.dumps(value, ensure_ascii=False) for name, value in asdict(self).items()}


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_count(value: Any) -> bool:
    return type(value) is int and value > 0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_text, value))


def _are_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(map(_is_number, value))


def _are_figures(value: Any) -> bool:
    return value is None or isinstance(value, dict)


_IS_VALID: dict[str, Callable[[Any], bool]] = {  # of a value as JSON; all others are text
    "classes": _are_names,
    "resolution": _is_count,
    "channels": _is_count,
    "mean": _are_numbers,
    "std": _are_numbers,
    "temperature": _is_number,
    "parameters": lambda value: type(value) is int,
    "task": lambda value: value in ("single-label", "multi-label"),
    "accuracy": _are_figures,
    "quantization": _are_figures,
}


def from_properties(properties: Mapping[str, str]) -> Metadata:
    """Read the properties of an exported file, such as `session.get_modelmeta().custom_metadata_map` of onnxruntime.

    Properties of later versions are ignored. Raises `UserError` if one is missing or damaged.
    """
    values: dict[str, Any] = {}
    for field in fields(Metadata):
        if field.name not in properties:
            raise UserError(f"the file was not exported by shoestring: its metadata have no '{field.name}'.")
        try:
            value = json.loads(properties[field.name])
        except ValueError as error:
            raise UserError(f"the metadata '{field.name}' of the file are damaged: {error}.") from None
        if not _IS_VALID.get(field.name, _is_text)(value):
            raise UserError(f"the metadata '{field.name}' of the file are damaged: {str(value)[:100]} is not possible.")
        values[field.name] = tuple(value) if isinstance(value, list) else value
    return Metadata(**values)
