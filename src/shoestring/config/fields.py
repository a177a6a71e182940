"""Fields of recipe sections: their help texts and limits, and what their text is parsed into."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from shoestring.config import paths
from shoestring.errors import UserError


def option(
    help: str,
    default: Any = None,
    *,
    parse: Callable[[Any], Any] | None = None,
    repeated: bool = False,
    **limits: float,
) -> Any:
    """Return a field with its help text.

    `parse` is applied when the recipe is created, and returns what is parsed already unchanged; the flag of a
    `repeated` field may be given several times; `limits` are those of `values.check_range`.
    """
    metadata = {"help": help, "limits": limits, "repeated": repeated} | ({} if parse is None else {"parse": parse})
    return dataclasses.field(default=default, metadata=metadata)


def path(help: str, normalize: Callable[[str], str] = paths.file, default: str | None = None) -> Any:
    """Return a field that names a file or folder, which `normalize` makes absolute when the recipe is created."""
    return dataclasses.field(default=default, metadata={"help": help, "normalize": normalize})


class Section:
    """Base of the dataclasses of a recipe: parses text, and makes paths independent of the working directory."""

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):  # type: ignore[arg-type]
            value = getattr(self, field.name)
            if value is None:
                continue
            if (parse := field.metadata.get("parse")) is not None:
                object.__setattr__(self, field.name, parse(value))
            if (normalize := field.metadata.get("normalize")) is not None:
                try:
                    object.__setattr__(self, field.name, normalize(str(value)))
                except UserError as error:
                    raise UserError(f"{field.name}: {error}") from None
