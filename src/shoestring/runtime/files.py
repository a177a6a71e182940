"""Files that are replaced as a whole, also across a power cut, and JSON files that may be damaged."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from shoestring.errors import UserError

_PARTIAL = ".partial"  # ends the names of files that are still being written


@contextlib.contextmanager
def replacing(path: Path, *, flush: bool = True) -> Iterator[Path]:
    """A temporary path beside `path`, which it replaces when the block ends without an error; else it is removed.

    The content is on the disk before the rename and the rename before the end (`fsync`), so that a crash at any moment
    leaves the old file or the new one; without `flush`, for thousands of files, a power cut may leave an empty one.
    `OSError` names the path.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name[:40]}.", suffix=_PARTIAL)
        os.close(handle)
        temporary = Path(name)
        yield temporary
        temporary.chmod(0o644)
        if flush:
            _flush(temporary)
        temporary.replace(path)
        if flush:
            flush_folder(path.parent)
    except OSError as error:
        error.filename = error.filename or str(path)  # `write` does not say where
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def publish(folder: Path, name: Path) -> None:
    """Rename a folder whose files are on the disk already; the rename is on the disk when this returns."""
    flush_folder(folder)
    folder.rename(name)
    flush_folder(name.parent)


def _flush(file: Path) -> None:
    handle = os.open(file, os.O_RDWR)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_folder(folder: Path) -> None:
    """Bring the names in a folder to the disk, where the system can do that (Windows and some network disks cannot)."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def is_partial(name: str) -> bool:
    """Whether a file of this name is one that `replacing` was writing; a killed process leaves such files."""
    return name.startswith(".") and name.endswith(_PARTIAL)


def write_text(path: Path, text: str) -> None:
    """Write a whole text file, or nothing; bytes of file names that are no text are written as escapes."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file; `UserError` when it is missing, unreadable or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no file {path}.") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from None
    except RecursionError:
        raise UserError(f"{path} is damaged: it is nested too deeply.") from None
    except ValueError as error:  # no JSON, no UTF-8, or a number of thousands of digits
        raise UserError(f"{path} is not JSON: {error}.") from None


def identity(folder: Path) -> tuple[int, int]:
    """Device and inode: the same as long as a folder is not removed, whatever its name."""
    status = folder.stat()
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[bool]:
    """Make a folder and hold it against other processes, as far as the system can; whether it was made.

    It is free again when the block or this process ends, however. `UserError` while another process holds it.
    """
    while True:
        new = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        handle = _lock(folder)
        try:
            if handle is None or _still(folder, handle):
                yield new
                return
        finally:  # and once more where the process that held the folder before has removed it
            if handle is not None:
                os.close(handle)


def _still(folder: Path, handle: int) -> bool:
    """Whether the open folder is the one of this name."""
    try:
        return os.path.samestat(folder.stat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _lock(folder: Path) -> int | None:
    """A handle that holds the folder, None where the system has no locks."""
    try:
        import fcntl
    except ImportError:  # Windows
        return None
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise UserError(f"another process is at work in {folder}. Wait for it, or choose another --out.") from None
    except OSError:  # a file system without locks
        pass
    return handle
