"""Checks of output paths: existing files are overwritten only on request, and links are never followed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from shoestring.errors import UserError


def check_file(file: Path, flag: str, *, overwrite: bool) -> None:
    """Raise `UserError` if `file`, the value of `flag`, is a link, not a regular file, or exists already."""
    if str(file) == "-":
        raise UserError(f"'-' is not a file: {flag} takes a file name.")
    if file.is_symlink():
        raise UserError(f"{file} is a link: {flag} takes the file itself.")
    if file.is_dir():
        raise UserError(f"{file} is a folder: {flag} takes a file.")
    if file.exists() and not file.is_file():
        raise UserError(f"{file} is not a regular file: choose another {flag}.")
    if file.exists() and not overwrite:
        raise UserError(f"{file} exists already: choose another {flag}, or add --overwrite.")


def check_folder(folder: Path, names: Sequence[str], flag: str, *, overwrite: bool) -> None:
    """Raise `UserError` if `folder`, the value of `flag`, is a link, not a folder, or has files of these names."""
    if folder.is_symlink():
        raise UserError(f"{folder} is a link: {flag} takes the folder itself.")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is not a folder: choose another {flag}.")
    for name in names:
        check_file(folder / name, flag, overwrite=overwrite)
