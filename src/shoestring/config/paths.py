"""Paths as users write them: `~` is expanded, and every location has one spelling."""

from __future__ import annotations

import os
import re
from pathlib import Path

from shoestring.errors import UserError

TIMM = "timm:"  # prefix of the names of timm networks
_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def expanded(path: str | os.PathLike[str]) -> Path:
    """Return the path with `~` or `~name` expanded. Raises `UserError` if there is no such home folder."""
    text = os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser raises for a folder that is itself named ~
    if text.startswith("~") and not os.path.lexists(text):
        raise UserError(f"{path}: '~' cannot be expanded, because there is no home folder: give the whole path.")
    return Path(text)


def absolute(path: str | os.PathLike[str]) -> Path:
    """Return the absolute path without `~`, `..` and symbolic links; it need not exist.

    Raises `UserError` for a URL, an empty path, a null character, and a relative path if the working directory does not
    exist anymore.
    """
    text = os.fspath(path)
    if not text or "\0" in text:
        raise UserError(f"{text!r} is not a path.")
    refuse_url(text)
    try:
        return Path(os.path.realpath(expanded(text)))
    except FileNotFoundError:
        raise UserError(f"{text} is relative to the working directory, which does not exist anymore.") from None


def refuse_url(text: str) -> None:
    """Raise `UserError` for a URL such as file:///tmp/x."""
    if _URL.match(text):
        raise UserError(f"{text} is a URL, and a path is expected: remove {text.partition('://')[0]}://.")


def file(text: str) -> str:
    """Return an absolute path."""
    return str(absolute(text))


def source(text: str) -> str:
    """Return a data source with an absolute path if it names an existing file or folder; other names are kept."""
    kind, path = _split(text)
    return text if path is None else kind + str(absolute(path))


def weights(text: str) -> str:
    """Return initial weights: an absolute path, or the word pretrained or none."""
    return text if text in ("pretrained", "none") else file(text)


def features(text: str) -> str:
    """Return a source of features: an absolute path, timm:NAME, or timm:NAME@FILE with an absolute path."""
    network = timm_network(text)
    if network is None:
        return file(text)
    name, weights = network
    return f"{TIMM}{name}@{file(weights)}" if weights else text


def timm_network(text: str) -> tuple[str, str | None] | None:
    """Return the name of a timm network and its file of weights (None without one); None for any other source."""
    if not text.startswith(TIMM):
        return None
    name, _, weights = text.removeprefix(TIMM).partition("@")
    return name, weights or None


def data_path(text: str) -> Path | None:
    """Return the absolute path of a data source; None if it is not an existing file or folder."""
    _, path = _split(text)
    return None if path is None else absolute(path)


def overlap(one: Path, other: Path) -> bool:
    """Return whether two paths are equal or one contains the other, after resolving symbolic links."""
    first, second = absolute(one), absolute(other)
    return first.is_relative_to(second) or second.is_relative_to(first)


def _split(text: str) -> tuple[str, str | None]:
    """Split a source into its kind with the colon (`folder:` or nothing) and its path, None unless that exists."""
    kind, colon, path = text.partition(":")
    if text and _exists(text):
        return "", text
    return (kind + colon, path) if path and _exists(path) else ("", None)


def _exists(text: str) -> bool:
    return "\0" not in text and os.path.exists(expanded(text))  # noqa: PTH110 - Path.exists raises for long names
