"""Where results go that the user names: not over what is there unless told to, and never through a link."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shoestring.errors import UserError


def check_file(file: Path, flag: str, *, overwrite: bool) -> None:
    """Raise `UserError` when `file`, the value of `flag`, is a link, no regular file, or there already."""
    if str(file) == "-":
        raise UserError(f"'-' is no file: {flag} names one.")
    if file.is_symlink():
        raise UserError(f"{file} is a link: {flag} names the file itself.")
    if file.is_dir():
        raise UserError(f"{file} is a folder: {flag} names a file.")
    if file.exists() and not file.is_file():
        raise UserError(f"{file} is no regular file: choose another {flag}.")
    if file.exists() and not overwrite:
        raise UserError(f"{file} is there already: choose another {flag}, or add --overwrite.")


def check_folder(folder: Path, names: Sequence[str], flag: str, *, overwrite: bool) -> None:
    """Raise `UserError` when `folder`, the value of `flag`, is a link or no folder, or holds files of these names."""
    if folder.is_symlink():
        raise UserError(f"{folder} is a link: {flag} names the folder itself.")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is no folder: choose another {flag}.")
    for name in names:
        check_file(folder / name, flag, overwrite=overwrite)
