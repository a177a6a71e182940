"""Paths as people write them: `~` is the home folder, and one place has one spelling."""

from __future__ import annotations

import os
import re
from pathlib import Path

from shoestring.errors import UserError

_URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)


def expanded(path: str | os.PathLike[str]) -> Path:
    """The path with `~` or `~name` replaced by the home folder; `UserError` when there is none."""
    text = os.path.expanduser(path)  # noqa: PTH111 - Path.expanduser raises for a folder that is called ~ itself
    if text.startswith("~") and not os.path.lexists(text):
        raise UserError(f"{path}: there is no home folder to put in for '~': give the whole path.")
    return Path(text)


def absolute(path: str | os.PathLike[str]) -> Path:
    """The path from the root, without `~`, `..` and symbolic links; it need not exist.

    Raises `UserError` for an empty path, a null character, and a working directory that does not exist any more.
    """
    text = os.fspath(path)
    if not text or "\0" in text:
        raise UserError(f"{text!r} is not a path.")
    refuse_address(text)
    try:
        return Path(os.path.realpath(expanded(text)))
    except FileNotFoundError:
        raise UserError(f"{text} is relative to the working directory, and that does not exist any more.") from None


def refuse_address(text: str) -> None:
    """Raise `UserError` for an address such as file:///tmp/x."""
    if _URL.match(text):
        raise UserError(f"{text} is an address, and a path is expected: leave out {text.partition('://')[0]}://.")


def file(text: str) -> str:
    """A path, absolute."""
    return str(absolute(text))


def source(text: str) -> str:
    """A data source, with an absolute path where it names something on the disk; other names stay as they are."""
    kind, where = _parts(text)
    return text if where is None else kind + str(absolute(where))


def weights(text: str) -> str:
    """Weights to start from: an absolute path, or the word pretrained."""
    return text if text == "pretrained" else file(text)


def features(text: str) -> str:
    """What images are compared by: an absolute path, timm:NAME, or timm:NAME@FILE with an absolute path."""
    if not text.startswith("timm:"):
        return file(text)
    name, at, where = text.partition("@")
    return f"{name}@{file(where)}" if at else text


def data_path(text: str) -> Path | None:
    """Absolute path of the folder or file that a data source names; None where it names nothing on the disk."""
    _, where = _parts(text)
    return None if where is None else absolute(where)


def overlap(one: Path, other: Path) -> bool:
    """Whether two paths are the same, or one lies in the other, through symbolic links too."""
    first, second = absolute(one), absolute(other)
    return first.is_relative_to(second) or second.is_relative_to(first)


def _parts(text: str) -> tuple[str, str | None]:
    """The kind of a source with its colon (`folder:`), or nothing; and the path behind it, if that exists."""
    kind, colon, where = text.partition(":")
    if text and _exists(text):
        return "", text
    return (kind + colon, where) if where and _exists(where) else ("", None)


def _exists(text: str) -> bool:
    return "\0" not in text and os.path.exists(expanded(text))  # noqa: PTH110 - Path.exists raises for long names
