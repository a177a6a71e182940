"""Atomic writes that survive a power failure, JSON files that may be corrupted, and folder locks."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from shoestring.errors import UserError

_PARTIAL = ".partial"  # suffix of files that are being written
LOCK_FILE = ".lock"  # in a locked folder; it stays there, so that all processes lock the same file
# errors of file systems that cannot lock
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP)


@contextlib.contextmanager
def atomic_write(path: Path, *, flush: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`, which replaces it if the block succeeds and is removed otherwise.

    The content is on the disk before the rename, and the rename before the function returns (`fsync`), so that a crash
    at any moment leaves the old file or the new one; without `flush` (for thousands of files), a power failure may
    leave an empty one. An `OSError` names the path.
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
            _flush(temporary, os.O_RDWR)
        temporary.replace(path)
        if flush:
            flush_folder(path.parent)
    except OSError as error:
        error.filename = error.filename or str(path)  # errors of `write` do not name the file
        raise
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def publish(folder: Path, name: Path) -> None:
    """Rename a folder whose files are already flushed, and flush the rename."""
    flush_folder(folder)
    folder.rename(name)
    flush_folder(name.parent)


def _flush(path: Path, flags: int) -> None:
    handle = os.open(path, flags)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def flush_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk where the system supports it (Windows and some network disks do not)."""
    with contextlib.suppress(OSError):
        _flush(folder, os.O_RDONLY)


def is_partial(name: str) -> bool:
    """Return whether a file name is a temporary one of `atomic_write`; killed processes leave such files."""
    return name.startswith(".") and name.endswith(_PARTIAL)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically; undecodable bytes of file names are written as escapes."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_json(path: Path, value: Any) -> None:
    """Write a value as indented JSON, atomically."""
    write_text(path, json.dumps(value, indent=1, ensure_ascii=False) + "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises `UserError` if it is missing, unreadable or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"no file {path}.") from None
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}.") from None
    except RecursionError:
        raise UserError(f"{path} is corrupted: it is nested too deeply.") from None
    except ValueError as error:  # not JSON, not UTF-8, or a number with thousands of digits
        raise UserError(f"{path} is not JSON: {error}.") from None


def folder_id(folder: Path) -> tuple[int, int]:
    """Return device and inode, which stay the same until the folder is removed, also when it is renamed."""
    status = folder.stat()
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def lock_folder(folder: Path) -> Iterator[bool]:
    """Create a folder and lock it against other processes; yield whether it was created.

    The lock ends with the block or the process. On file systems without locks, nothing is locked. Raises `UserError`
    while another process holds the lock.
    """
    while True:
        created = not folder.exists()
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as stack:
            if not _lock(folder, stack) or (folder / LOCK_FILE).exists():
                yield created
                return
        # else the previous holder has just removed the folder


def _lock(folder: Path, stack: contextlib.ExitStack) -> bool:
    """Lock a folder until the stack is closed; return False if the file system cannot."""
    from filelock import FileLock, Timeout

    try:
        stack.enter_context(FileLock(folder / LOCK_FILE, timeout=0))
    except FileNotFoundError:  # the folder has just been removed
        return True
    except Timeout:
        raise UserError(
            f"{folder} is in use by another process. Wait until it finishes, or choose another --out."
        ) from None
    except NotImplementedError:  # older versions of filelock, for ENOSYS
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def move_files(source: Path, target: Path, names: Iterable[str]) -> None:
    """Move the files of these relative paths from one folder into another one, replacing existing files."""
    for name in names:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).replace(target / name)
