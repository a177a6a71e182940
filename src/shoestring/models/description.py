"""`model.json`: what it takes to use a network beside its tensors. The file may come from anywhere and is checked."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from shoestring.errors import UserError
from shoestring.runtime.files import read_json

TENSORS, DESCRIPTION = "model.safetensors", "model.json"
_LARGEST = 4096  # pixels of a side


@dataclass(frozen=True)
class Preprocessing:
    """What the network takes: square images of this many pixels and channels, in units of 0..1 less mean over std.

    Raises `ValueError` for numbers that cannot be: no resolution, a deviation of zero, means of other channels.
    """

    resolution: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    mirror: bool = False  # predictions are the mean of the image's and its mirror image's
    shift: int = 0  # and, where these leave a doubt, of the image moved by so many pixels along the diagonal

    def __post_init__(self) -> None:
        if not _whole(self.resolution, 1, _LARGEST):
            raise ValueError(f"resolution must be an integer from 1 to {_LARGEST}, not {self.resolution!r}.")
        if not _whole(self.channels, 1, _LARGEST):
            raise ValueError(f"channels must be an integer above 0, not {self.channels!r}.")
        if not len(self.mean) == len(self.std) == self.channels:
            raise ValueError(f"{self.channels} channels need as many means and deviations: {self.mean}, {self.std}.")
        if not all(map(_finite, self.mean)):
            raise ValueError(f"mean must be finite numbers, not {self.mean}.")
        if not all(_finite(value) and value > 0 for value in self.std):
            raise ValueError(f"std must be finite numbers above 0, not {self.std}.")
        if not isinstance(self.mirror, bool):
            raise ValueError(f"mirror must be true or false, not {self.mirror!r}.")
        if not _whole(self.shift, 0, self.resolution - 1):
            raise ValueError(f"shift must be an integer from 0 to less than the resolution, not {self.shift!r}.")


@dataclass(frozen=True)
class Description:
    """The content of a `model.json`; `sizes` are attributes of modules that surgery changed, by their full names."""

    name: str
    options: dict[str, Any]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float
    sizes: dict[str, Any]


def read_description(folder: Path) -> Description:
    """The `model.json` of a folder; `UserError` names the file when it is missing, foreign or damaged."""
    file = folder / DESCRIPTION
    about = read_json(file)
    try:
        return _checked(about)
    except KeyError as error:
        raise UserError(f"{file} does not describe a model: {error} is missing.") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{file} does not describe a model: {error}") from None


def check_temperature(value: Any) -> float:
    """The temperature of a model; `ValueError` unless it is a finite number above zero."""
    if not (_finite(value) and value > 0):
        raise ValueError(f"temperature must be a finite number above 0, not {value!r}.")
    return float(value)


def _checked(about: Any) -> Description:
    if not isinstance(about, dict):
        raise TypeError(f"it holds a {type(about).__name__} and no mapping.")
    name, options, sizes = about["name"], about["options"], about["sizes"]
    if not isinstance(name, str):
        raise TypeError(f"name must be text, not {name!r}.")
    for key, value in (("options", options), ("sizes", sizes)):
        if not isinstance(value, dict):
            raise TypeError(f"{key} must be a mapping, not {value!r}.")
    prepared = about["preprocessing"]
    if not isinstance(prepared, dict):
        raise TypeError(f"preprocessing must be a mapping, not {prepared!r}.")
    mean, std = (_tuple(prepared[key], key) for key in ("mean", "std"))
    rest = (prepared["mirror"], prepared["shift"])
    preprocessing = Preprocessing(prepared["resolution"], prepared["channels"], mean, std, *rest)
    temperature = check_temperature(about["temperature"])
    return Description(name, options, _classes(about["classes"]), preprocessing, temperature, sizes)


def _classes(value: Any) -> tuple[str, ...]:
    names = _tuple(value, "classes")
    if not all(isinstance(name, str) for name in names):
        raise TypeError("classes must be a list of names.")
    if len(names) < 2:
        raise ValueError(f"two classes or more are expected, not {len(names)}.")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"class '{twice}' is listed more than once.")
    return names


def _tuple(value: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{key} must be a list, not {value!r}.")
    return tuple(value)


def _whole(value: Any, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def _finite(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and math.isfinite(value)


def shaping(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that change the sizes of a network."""
    return {key: value for key, value in options.items() if key != "dropout"}
