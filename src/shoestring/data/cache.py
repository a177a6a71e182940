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
    try:
        if own:
            return Path(own).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "shoestring"
    except RuntimeError:
        raise UserError(
            "this user has no home folder for the image cache: set SHOESTRING_CACHE to a folder that can be written to."
        ) from None


@dataclass(frozen=True)
class Entry:
    """A decoded data set: its splits as views of one memory map, and what `meta.json` says about it."""

    splits: dict[str, Images]
    meta: dict[str, Any]

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """The images that could not be read and were left out: names, and why."""
        return tuple((where, reason) for where, reason in self.meta["skipped"])


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
        _check(meta, pixels, labels, ids)
    except Exception:  # whatever stands in it, it is made again
        return None
    splits, start = {}, 0
    for name, split in meta["splits"].items():
        rows = slice(start, start + split["size"])
        splits[name] = Images(
            pixels[rows], np.array(labels[rows]), meta["classes"], ids[rows], fingerprint=split["fingerprint"]
        )
        start = rows.stop
    return Entry(splits, meta)


def _check(meta: dict[str, Any], pixels: np.ndarray, labels: np.ndarray, ids: np.ndarray) -> None:
    """Raise `ValueError` (or what the wrong types raise) unless the parts of an entry fit together."""
    side, texts = meta["resolution"], ("notes", "others", "classes")
    sizes = [split["size"] for split in meta["splits"].values()]
    fits = [
        pixels.dtype == np.uint8 and pixels.ndim == 4 and pixels.shape[1:3] == (side, side),
        labels.dtype == np.int64 and labels.ndim == ids.ndim == 1 and ids.dtype.kind == "U",
        len(pixels) == len(labels) == len(ids) == sum(sizes) and min(sizes) > 0,
        set(meta["splits"]) <= {"train", "validation", "test"},
        all(isinstance(split["fingerprint"], str) for split in meta["splits"].values()),
        all(isinstance(meta[name], list) and all(isinstance(text, str) for text in meta[name]) for name in texts),
        all(isinstance(text, str) for skipped in meta["skipped"] for text in skipped),
        all(len(skipped) == 2 for skipped in meta["skipped"]),
        isinstance(meta["without_train"], str),
        labels.min() >= 0 and labels.max() < len(meta["classes"]) == len(set(meta["classes"])),
    ]
    if not all(fits):
        raise ValueError("the parts of the entry do not fit together")


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
            for path in [*temporary.iterdir(), temporary]:
                _to_disk(path)  # or a power cut leaves a whole folder of empty files
            _publish(temporary, folder, key)
            _to_disk(folder.parent)
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
            "Make room, or set SHOESTRING_CACHE to a folder that can be written to, on another disk if need be."
        ) from None


def _to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk itself."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # Windows opens no folders
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):  # of file systems that cannot do that
            raise
    finally:
        os.close(handle)


def _publish(temporary: Path, folder: Path, key: str) -> None:
    """Rename into place; an entry that is there already stays if it is good, and makes way if it is not."""
    while open_entry(folder, key) is None:
        try:
            temporary.rename(folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
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
