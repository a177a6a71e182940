"""From the text that names a data set to its source: a path, the name of a source, or a known data set."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable
from pathlib import Path

from shoestring.config import registry
from shoestring.config.paths import expanded
from shoestring.data.label_columns import Labels
from shoestring.data.labeled import labeled_folder
from shoestring.data.listing import Source
from shoestring.data.parquet import parquet_files
from shoestring.data.sources.arrays import arrays
from shoestring.data.sources.digits import digits
from shoestring.data.sources.folder import folder, unlabeled_folder
from shoestring.data.sources.hub import hub
from shoestring.data.sources.torchvision import NAMES, torchvision
from shoestring.errors import UserError
from shoestring.suggestions import MIN_SIMILARITY, nearest

_FILE_SUFFIXES = {".npz", ".npy", ".zip", ".tar", ".gz", ".parquet", ".csv", ".png", ".jpg", ".jpeg"}  # not on the Hub


def locate(source: str) -> Source:
    """Return the source that a path or name refers to; an existing path wins. Raises `UserError` if there is none."""
    kind, colon, where = source.partition(":")
    if not (where if colon and kind != "digits" else source).strip():
        raise UserError("the data set has no name: expected a folder, an .npz file, a Hub id or a data set's name.")
    if colon and kind in registry.names("data"):
        return registry.find("data", kind)(where)
    path = expanded(source)
    if _check(path.is_dir):
        return hub(source) if parquet_files(path) else folder(source)
    if _check(path.is_file):
        if path.suffix.lower() == ".npz":
            return arrays(source)
        raise UserError(f"{source} is a file: expected a folder of class folders or Parquet files, or an .npz file.")
    name = re.sub("[-_ ]", "", source).lower()
    if name == "digits":
        return digits()
    if name in NAMES:
        return torchvision(name)
    hub_id = re.fullmatch(r"([\w-][\w.-]*)/[\w.-]+(@[\w./-]+)?", source)
    is_path = _check(path.parent.is_dir) or path.suffix.lower() in _FILE_SUFFIXES
    if hub_id and not is_path and not _similar_entry(hub_id[1], "."):
        return hub(source)
    raise _not_found(source, as_hub=hub_id is not None)


def locate_labeled(source: str, labels: Labels) -> Source:
    """Return the source of the images of a folder that a table lists. Raises `UserError` if there is no such folder."""
    path = expanded(source.removeprefix("folder:"))
    if not _check(path.is_dir):
        if _similar_entry(path.name, path.parent) and not _check(path.exists):
            raise _not_found(source, as_hub=False)
        raise UserError(f"--labels lists the images of a folder, and {source} is none: give the folder of the images.")
    return labeled_folder(path, labels)


def locate_unlabeled(source: str) -> Source:
    """Return the source of images without labels: all files of a folder, otherwise as `locate`."""
    path = expanded(source)
    return unlabeled_folder(source) if path.is_dir() and not parquet_files(path) else locate(source)


def _check(test: Callable[[], bool]) -> bool:
    """Return the result of a test of a path; False if the system raises, as for a name that is too long."""
    try:
        return test()
    except OSError:
        return False


def _similar_entry(name: str, folder: str | Path) -> str | None:
    """Return the other entry of a folder with the most similar name, if one is similar enough."""
    try:
        others = {entry.name.lower(): entry.name for entry in Path(folder).iterdir() if entry.name != name}
    except OSError:
        return None
    matches = difflib.get_close_matches(name.lower(), others, n=1, cutoff=MIN_SIMILARITY)
    return others[matches[0]] if matches else None


def _not_found(source: str, *, as_hub: bool) -> UserError:
    """Return the error for a path or name that does not exist, with the most similar path or data set."""
    path, similar = Path(source), nearest(source, {"digits", *NAMES} - {source})
    if entry := _similar_entry(path.name, expanded(path.parent)):
        similar = str(path.parent / entry)
    elif entry := _similar_entry(path.parts[0], "."):
        similar = str(Path(entry, *path.parts[1:]))
    guess = f" Did you mean '{similar}'?" if similar else ""
    if as_hub:
        return UserError(f"no folder or file '{source}'.{guess} If it is a Hub id, write hub:{source}.")
    return UserError(
        f"no folder, file or data set '{source}'.{guess} Expected a folder of class folders or of Parquet files, "
        f"an .npz file, a Hub id owner/name, or one of: digits, {', '.join(NAMES)}."
    )
