"""What lies in a folder: entries and files, hidden ones and those of the system passed over, links followed."""

from __future__ import annotations

import os
from pathlib import Path

from shoestring.errors import UserError

# left by file managers, archives and disks; hidden files and folders are passed over as well
_SYSTEM = ("thumbs.db", "desktop.ini", "__macosx", "@eadir", "$recycle.bin", "system volume information", "lost+found")


def entries(place: Path | str) -> list[os.DirEntry[str]]:
    """The entries of a folder by name; `UserError` when it cannot be listed."""
    try:
        with os.scandir(place) as found:
            kept = [entry for entry in found if entry.name[0] != "." and entry.name.lower() not in _SYSTEM]
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(f"cannot list the folder {place}: {reason}. Make it readable, or move it away.") from None
    return sorted(kept, key=lambda entry: entry.name)


def folders(place: Path | str) -> list[str]:
    """The names of the folders in a folder, and of the links to folders."""
    return [entry.name for entry in entries(place) if entry.is_dir()]


def files_below(top: Path | str) -> tuple[list[str], list[str]]:
    """All files below a folder and all that is neither file nor folder, such as pipes: two lists of sorted paths.

    Links to folders are followed, and each folder is listed once, under its own path rather than that of a link. A
    link to nothing counts as a file.
    """
    files, special = [], []
    seen: set[tuple[int, int]] = set()
    places, links = [str(top)], []
    while places or links:
        place = places.pop() if places else links.pop(0)
        listed = entries(place)
        status = os.stat(place)  # noqa: PTH116 - Path objects cost more than this
        if (status.st_dev, status.st_ino) in seen:
            continue
        seen.add((status.st_dev, status.st_ino))
        for entry in listed:
            if entry.is_dir():
                (links if entry.is_symlink() else places).append(entry.path)
            elif entry.is_file() or (entry.is_symlink() and not os.path.exists(entry.path)):  # noqa: PTH110
                files.append(entry.path)
            else:
                special.append(entry.path)
    return sorted(files), sorted(special)
