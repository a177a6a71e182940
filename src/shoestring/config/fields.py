"""Fields of recipe sections: their help texts, limits and paths."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from shoestring.config import paths
from shoestring.errors import UserError


def option(help: str, default: Any = None, **limits: float) -> Any:
    """Return a field with its help text; `limits` are those of `values.check_range`."""
    return dataclasses.field(default=default, metadata={"help": help, "limits": limits})


def path(help: str, normalize: Callable[[str], str] = paths.file, default: str | None = None) -> Any:
    """Return a field that names a file or folder, which `normalize` makes absolute when the recipe is created."""
    return dataclasses.field(default=default, metadata={"help": help, "limits": {}, "normalize": normalize})


class WithPaths:
    """Base of dataclasses whose paths are made absolute, so that they do not depend on the working directory."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            normalize, value = field.metadata.get("normalize"), getattr(self, field.name)
            if normalize is None or value is None:
                continue
            try:
                object.__setattr__(self, field.name, normalize(str(value)))
            except UserError as error:
                raise UserError(f"{field.name}: {error}") from None
