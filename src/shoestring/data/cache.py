"""Cache of decoded data sets on disk: one folder each, complete or absent, replaced when the source changes."""

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

_ABANDONED = 3600  # seconds without a write after which an incomplete entry is taken for that of a killed process


def cache_root() -> Path:
    """Return `$SHOESTRING_CACHE`, or `shoestring` in the user's cache folder (`$XDG_CACHE_HOME`, else `~/.cache`)."""
    configured = os.environ.get("SHOESTRING_CACHE")
    try:
        if configured:
            return Path(configured).expanduser()
        return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "shoestring"
    except RuntimeError:
        raise UserError(
            "this user has no home folder for the image cache: set SHOESTRING_CACHE to a writable folder."
        ) from None


@dataclass(frozen=True)
class Entry:
    """A decoded data set: its splits as views of one memory map, and the content of `meta.json`."""

    splits: dict[str, Images]
    meta: dict[str, Any]

    @property
    def skipped(self) -> tuple[tuple[str, str], ...]:
        """Unreadable images that were skipped: names and reasons."""
        return tuple((name, reason) for name, reason in self.meta["skipped"])


def entry_folder(name: str, *identity: object) -> Path:
    """Return the folder of an entry, a readable name and a hash of what identifies it: location and decoding."""
    digest = hashlib.blake2b(repr(identity).encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    return cache_root() / "images" / f"{re.sub(r'[^A-Za-z0-9.-]+', '-', name).strip('-.')[:60]}-{digest}"


def open_entry(folder: Path, key: str) -> Entry | None:
    """Open the entry in this folder; None if it is missing, damaged or has another key."""
    try:
        meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
        if meta["key"] != key:
            return None
        # copy-on-write, which leaves the files unchanged, because torch warns about read-only arrays
        pixels, labels, ids = (np.load(folder / f"{name}.npy", mmap_mode="c") for name in ("pixels", "labels", "ids"))
        _check(meta, pixels, labels, ids)
    except Exception:  # whatever is wrong, the entry is built again
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
    """Raise `ValueError` (or what wrong types raise) unless the parts of an entry are consistent."""
    side, texts = meta["resolution"], ("notes", "others", "classes")
    sizes = [split["size"] for split in meta["splits"].values()]
    conditions = [
        pixels.dtype == np.uint8 and pixels.ndim == 4 and pixels.shape[1:3] == (side, side),
        labels.dtype == np.int64 and ids.ndim == 1 and ids.dtype.kind == "U",
        len(pixels) == len(labels) == len(ids) == sum(sizes) and min(sizes) > 0,
        set(meta["splits"]) <= {"train", "validation", "test"},
        all(isinstance(split["fingerprint"], str) for split in meta["splits"].values()),
        all(isinstance(meta[name], list) and all(isinstance(text, str) for text in meta[name]) for name in texts),
        all(isinstance(text, str) for skipped in meta["skipped"] for text in skipped),
        all(len(skipped) == 2 for skipped in meta["skipped"]),
        isinstance(meta["without_train"], str),
        labels.shape in ((len(ids),), (len(ids), len(meta["classes"]))),
        labels.min() >= 0 and labels.max() < (len(meta["classes"]) if labels.ndim == 1 else 2),
        len(meta["classes"]) == len(set(meta["classes"])),
    ]
    if not all(conditions):
        raise ValueError("the parts of the entry are inconsistent")


def build_entry(folder: Path, key: str, build: Callable[[Path], None]) -> Entry:
    """Let `build` fill a temporary folder and move it into place, unless another process was faster.

    `build` writes pixels.npy, labels.npy, ids.npy and meta.json. If it fails or is interrupted, no files remain.
    """
    with cache_write_errors(folder.parent):
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder.parent)
        temporary = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        build(temporary)
        with cache_write_errors(folder.parent):
            temporary.chmod(0o755)
            for path in [*temporary.iterdir(), temporary]:
                _sync(path)  # otherwise a power failure leaves a complete folder of empty files
            _publish(temporary, folder, key)
            _sync(folder.parent)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    entry = open_entry(folder, key)
    if entry is None:
        raise UserError(f"the cache entry {folder} was changed while it was built: run the same command again.")
    return entry


@contextlib.contextmanager
def cache_write_errors(root: Path) -> Iterator[None]:
    """Turn an `OSError` of the block, such as a full disk, into a `UserError`."""
    try:
        yield
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise UserError(
            f"cannot write the image cache in {root}: {reason}. "
            "Free up space, or set SHOESTRING_CACHE to a writable folder, on another disk if necessary."
        ) from None


def _sync(path: Path) -> None:
    """Flush a file, or the names in a folder, to the disk."""
    try:
        handle = os.open(path, os.O_RDONLY)
    except OSError:  # Windows cannot open folders
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EBADF, errno.ENOTSUP):  # unsupported by the file system
            raise
    finally:
        os.close(handle)


def _publish(temporary: Path, folder: Path, key: str) -> None:
    """Rename into place; an existing entry stays if it is valid and is removed if it is not."""
    while open_entry(folder, key) is None:
        try:
            temporary.rename(folder)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            if open_entry(folder, key) is None:  # otherwise another process was faster, and its entry must stay
                _remove(folder)


def _remove(folder: Path) -> None:
    """Remove an entry atomically for other processes: rename it first."""
    with contextlib.suppress(FileNotFoundError):
        aside = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
        try:
            folder.rename(aside / "old")
        finally:
            shutil.rmtree(aside, ignore_errors=True)


def _remove_abandoned(root: Path) -> None:
    """Remove incomplete entries of killed processes."""
    for path in root.glob(".*"):
        with contextlib.suppress(OSError):
            newest = max(file.stat().st_mtime for file in [path, *path.iterdir()])
            if time.time() - newest > _ABANDONED:
                shutil.rmtree(path)
