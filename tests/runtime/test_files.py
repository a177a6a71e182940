from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from stat import S_ISDIR

import pytest
from filelock import FileLock

from shoestring.errors import UserError
from shoestring.runtime.files import atomic_write, lock_folder, read_json, write_json


def test_folder_removed_while_locking_is_recreated(tmp_path, monkeypatch):
    """The folder is removed just after its lock was acquired."""
    acquire, calls = FileLock.acquire, []

    def acquire_and_remove(self, *args, **kwargs):
        lock = acquire(self, *args, **kwargs)
        if not calls:
            shutil.rmtree(tmp_path / "run")
        calls.append(1)
        return lock

    monkeypatch.setattr(FileLock, "acquire", acquire_and_remove)
    with lock_folder(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()
        with pytest.raises(UserError, match="another process"), lock_folder(tmp_path / "run"):
            pass


def test_file_and_folder_are_flushed_around_a_rename(tmp_path, monkeypatch):
    calls: list[str] = []
    replace = Path.replace
    monkeypatch.setattr(
        os, "fsync", lambda handle: calls.append("folder" if S_ISDIR(os.fstat(handle).st_mode) else "file")
    )
    monkeypatch.setattr(Path, "replace", lambda self, other: (calls.append("rename"), replace(self, other)))
    write_json(tmp_path / "a.json", 1)
    assert calls == ["file", "rename", "folder"]


def test_full_disk_keeps_the_previous_file(tmp_path, monkeypatch):
    write_json(tmp_path / "a.json", 1)
    monkeypatch.setattr(os, "fsync", lambda handle: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
    with pytest.raises(OSError, match="No space") as caught:
        write_json(tmp_path / "a.json", 2)
    assert caught.value.filename == str(tmp_path / "a.json")
    assert [(file.name, file.read_text()) for file in tmp_path.iterdir()] == [("a.json", "1\n")]


def test_file_with_a_255_byte_name_can_be_replaced(tmp_path):
    for name in ("x" * 255, "ü" * 127):
        with atomic_write(tmp_path / name) as temporary:
            temporary.write_text("one")
        assert (tmp_path / name).read_text() == "one"


def test_atomic_write_replaces_the_file_only_on_success(tmp_path):
    file = tmp_path / "new" / "file.txt"
    with atomic_write(file) as temporary:
        temporary.write_text("one")
        assert not file.exists()
    with pytest.raises(KeyboardInterrupt), atomic_write(file) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert file.read_text() == "one"
    assert list(file.parent.iterdir()) == [file]
    assert file.stat().st_mode & 0o777 == 0o644


def test_json_round_trip(tmp_path):
    write_json(tmp_path / "a.json", {"ä": [1, None]})
    assert read_json(tmp_path / "a.json") == {"ä": [1, None]}


def test_missing_or_invalid_json_error_names_the_file(tmp_path):
    with pytest.raises(UserError, match="no file"):
        read_json(tmp_path / "a.json")
    (tmp_path / "a.json").write_text("{")
    with pytest.raises(UserError, match=r"a\.json is not JSON"):
        read_json(tmp_path / "a.json")


def test_full_disk_error_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space") as caught, atomic_write(tmp_path / "file"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(tmp_path / "file")
