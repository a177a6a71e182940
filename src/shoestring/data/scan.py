"""Entries and files of folders, without hidden and system files; links are followed."""

from __future__ import annotations

import os
from pathlib import Path

from shoestring.errors import UserError

# created by file managers, archives and file systems
_SYSTEM = ("thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")


def entries(folder: Path | str) -> list[os.DirEntry[str]]:
    """Return the entries of a folder, sorted by name. Raises `UserError` if it cannot be listed."""
    try:
        with os.scandir(folder) as scan:
            visible = [entry for entry in scan if entry.name[0] != "." and entry.name.lower() not in _SYSTEM]
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot list the folder {folder}: {reason}. Make it readable, or move it away.") from None
    return sorted(visible, key=lambda entry: entry.name)


def subfolders(folder: Path | str) -> list[str]:
    """Return the names of the folders in a folder, links to folders included."""
    return [entry.name for entry in entries(folder) if entry.is_dir()]


def files_below(top: Path | str) -> tuple[list[str], list[str]]:
    """Return the sorted paths of all files below a folder, and of all that is neither file nor folder, such as pipes.

    Links to folders are followed, and each folder is listed once, under its own path if possible rather than that of a
    link. A broken link counts as a file.
    """
    files, special = [], []
    seen: set[tuple[int, int]] = set()
    folders, links = [str(top)], []
    while folders or links:
        folder = folders.pop() if folders else links.pop(0)
        listed = entries(folder)
        status = os.stat(folder)  # noqa: PTH116 - Path objects cost more than this
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in listed:
            if entry.is_dir():
                (links if entry.is_symlink() else folders).append(entry.path)
            elif entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path)):  # noqa: PTH110
                files.append(entry.path)
            else:
                special.append(entry.path)
    return sorted(files), sorted(special)
