"""`model.json`: what a network needs besides its tensors. The file may come from anywhere, so it is validated."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from shoestring.config.fit import EARLIER_FIT
from shoestring.config.model_files import DESCRIPTION_FILE, model_folder
from shoestring.errors import UserError
from shoestring.models.networks import bind_options
from shoestring.models.preprocessing import Preprocessing, is_finite
from shoestring.runtime.files import read_json
from shoestring.tasks import SINGLE_LABEL, Task, find_task


@dataclass(frozen=True)
class Description:
    """Content of a `model.json`; `sizes` are module attributes that surgery changed, by their qualified names."""

    name: str
    options: dict[str, Any]
    classes: tuple[str, ...]
    preprocessing: Preprocessing
    temperature: float
    sizes: dict[str, Any]
    task: Task = SINGLE_LABEL


def read_description(folder: Path) -> Description:
    """Read the `model.json` of a folder. Raises `UserError` if it is missing, corrupted or of another program."""
    file = folder / DESCRIPTION_FILE
    content = read_json(file)
    try:
        return _parse(content)
    except KeyError as error:
        raise UserError(f"{file} does not describe a model: {error} is missing.") from None
    except (TypeError, ValueError) as error:
        raise UserError(f"{file} does not describe a model: {error}") from None


def read_network(path: Path) -> tuple[str, dict[str, Any]] | None:
    """Return name and options of the network in a model folder or run folder; None if `path` is neither."""
    folder = model_folder(path)
    if folder is None:
        return None
    description = read_description(folder)
    with blaming_description(folder / DESCRIPTION_FILE):
        return description.name, bind_options(description.name, description.options)


@contextmanager
def blaming_description(file: Path) -> Iterator[None]:
    """Prefix a `UserError` of the block with the name of the file that caused it."""
    try:
        yield
    except UserError as error:
        raise UserError(f"{file} does not describe a model: {error}") from None


def check_temperature(value: Any) -> float:
    """Return the temperature of a model. Raises `ValueError` unless it is finite and above zero."""
    if not (is_finite(value) and value > 0):
        raise ValueError(f"temperature must be a finite number above 0, not {value!r}.")
    return float(value)


def size_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that determine the sizes of a network."""
    return {key: value for key, value in options.items() if key != "dropout"}


def _parse(content: Any) -> Description:
    if not isinstance(content, dict):
        raise TypeError(f"it holds a {type(content).__name__}, not a mapping.")
    name, options, sizes = content["name"], content["options"], content["sizes"]
    if not isinstance(name, str):
        raise TypeError(f"name must be text, not {name!r}.")
    for key, value in (("options", options), ("sizes", sizes)):
        if not isinstance(value, dict):
            raise TypeError(f"{key} must be a mapping, not {value!r}.")
    inputs = content["preprocessing"]
    if not isinstance(inputs, dict):
        raise TypeError(f"preprocessing must be a mapping, not {inputs!r}.")
    mean, std = (_to_tuple(inputs[key], key) for key in ("mean", "std"))
    preprocessing = Preprocessing(
        inputs["resolution"],
        inputs["channels"],
        mean,
        std,
        inputs["mirror"],
        inputs["shift"],
        inputs.get("interpolation", "bilinear"),  # absent in files of earlier versions, as is
        inputs.get("fit", EARLIER_FIT),
    )
    temperature = check_temperature(content["temperature"])
    classes = _parse_classes(content["classes"])
    task = find_task(content.get("task", SINGLE_LABEL.name))  # absent in files of earlier versions
    return Description(name, options, classes, preprocessing, temperature, sizes, task)


def _parse_classes(value: Any) -> tuple[str, ...]:
    names = _to_tuple(value, "classes")
    if not all(isinstance(name, str) for name in names):
        raise TypeError("classes must be a list of names.")
    if len(names) < 2:
        raise ValueError(f"at least two classes are expected, not {len(names)}.")
    if len(set(names)) < len(names):
        duplicate = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"class '{duplicate}' is listed more than once.")
    return names


def _to_tuple(value: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise TypeError(f"{key} must be a list, not {value!r}.")
    return tuple(value)
