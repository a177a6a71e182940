"""Decoded data sets on disk: one folder each, whole or absent, replaced when the source changes."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from shoestring.data.images import Images
from shoestring.errors import UserError

_ABANDONED = 3600  # seconds without a write after which a half-built entry belongs to a process that was killed


def cache_root() -> Path:
    """`$SHOESTRING_CACHE`, or `shoestring` in the user's cache folder (`$XDG_CACHE_HOME`, else `~/.cache`)."""
    own = os.environ.get("SHOESTRING_CACHE")
    if own:
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "shoestring"


@dataclass(frozen=True)
class Entry:
    """A decoded data set: its splits as views of one memory map, and what `meta.json` says about it."""

    splits: dict[str, Images]
    meta: dict[str, Any]


def entry_folder(name: str, *identity: object) -> Path:
    """Where the entry of one place, decoded in one way, lies: a readable name and a hash."""
    digest = hashlib.blake2b(repr(identity).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return cache_root() / "images" / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', name).strip('-.')[:60]}-{digest}"


def open_entry(folder: Path, key: str) -> Entry | None:
    """The entry in this folder; None when it is missing, damaged or made from something else than `key` names."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        if meta["key"] != key:
            return None
        # copy-on-write: torch warns about read-only arrays, and the files never change all the same
        pixels, labels, ids = (np.load(folder / f"{name}.npy", mmap_mode="c") for name in ("pixels", "labels", "ids"))
        if not len(pixels) == len(labels) == len(ids) == sum(split["size"] for split in meta["splits"].values()):
            return None
    except (OSError, ValueError, KeyError, TypeError, EOFError):
        return None
    splits, start = {}, 0
    for name, split in meta["splits"].items():
        rows = slice(start, start + split["size"])
        splits[name] = Images(
            pixels[rows], np.array(labels[rows]), meta["classes"], ids[rows], fingerprint=split["fingerprint"]
        )
        start = rows.stop
    return Entry(splits, meta)


def build_entry(folder: Path, key: str, build: Callable[[Path], None]) -> Entry:
    """Let `build` fill a temporary folder, then put it in place; a process that was faster wins.

    `build` writes pixels.npy, labels.npy, ids.npy and meta.json. Nothing is left when it fails or is interrupted.
    """
    with writing(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _sweep(folder.parent)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        build(temporary)
        with writing(folder.parent):
            temporary.chmod(0o755)
            _publish(temporary, folder, key)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    entry = open_entry(folder, key)
    if entry is None:
        raise UserError(f"the cache entry {folder} was changed while it was made: run the same command again.")
    return entry


@contextlib.contextmanager
def writing(root: Path) -> Iterator[None]:
    """Turn a full disk or a folder without write permission into one line."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"cannot write the image cache in {root}: {reason}. "
            "Make room, or set SHOESTRING_CACHE to a folder on another disk."
        ) from None


def _publish(temporary: Path, folder: Path, key: str) -> None:
    """Rename into place; an entry that is there already stays if it is good, and makes way if it is not."""
    while open_entry(folder, key) is None:
        try:
            temporary.rename(folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            if open_entry(folder, key) is None:  # else another process came first, and its entry must not be moved
                _remove(folder)


def _remove(folder: Path) -> None:
    """Remove an entry at once for all others: under another name first."""
    with contextlib.suppress(FileNotFoundError):
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            folder.rename(aside / "old")
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _sweep(root: Path) -> None:
    """Remove what killed processes left behind."""
    for path in root.glob(".*"):
        with contextlib.suppress(OSError):
            newest = max(file.stat().st_mtime for file in [path, *path.iterdir()])
            if time.time() - newest > _ABANDONED:
                shutil.rmtree(path)
