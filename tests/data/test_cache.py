from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from shoestring.data import build, load
from shoestring.data import cache as cache_module
from shoestring.data.build import AtMost
from shoestring.data.cache import cache_root
from shoestring.data.listing import Item
from shoestring.errors import UserError

COUNTS = {"cat": 8, "dog": 8}
LOAD = "import sys; from shoestring.data import load; print(load(sys.argv[1]).train.fingerprint)"


def entries(cache):
    return sorted(path.name for path in (cache / "images").iterdir())


@pytest.fixture
def decoded(monkeypatch):
    """List of the images that are decoded."""
    seen = []
    real = build.decode
    monkeypatch.setattr(build, "decode", lambda image, **options: seen.append(image) or real(image, **options))
    return seen


def test_images_are_decoded_once(photos, decoded):
    root = photos(COUNTS)
    first, second = load(root), load(root)
    assert len(decoded) == 16
    assert first.train.fingerprint == second.train.fingerprint and first.notes == second.notes
    np.testing.assert_array_equal(first.train.pixels, second.train.pixels)
    np.testing.assert_array_equal(first.train.ids, second.train.ids)


def test_each_fit_has_an_entry_of_its_own(photos, decoded, cache):
    root = photos(COUNTS, size=(16, 12))
    first = {fit: load(root, fit=fit).train for fit in ("crop", "squash", "pad")}
    assert len(decoded) == 3 * 16 and len(entries(cache)) == 3
    assert len({images.fingerprint for images in first.values()}) == 3
    for fit, images in first.items():
        again = load(root, fit=fit).train
        np.testing.assert_array_equal(again.pixels, images.pixels)
        assert again.fit == images.fit == fit
    assert load(root).train.fit == "crop"
    assert len(decoded) == 3 * 16 and len(entries(cache)) == 3


@pytest.mark.parametrize("side", [40, 64, 80])
@pytest.mark.parametrize("first", [None, AtMost(160)])
def test_small_images_are_decoded_once_for_any_limit(photos, decoded, side, first):
    root = photos(COUNTS, size=(side, side))
    sides = {limit: load(root, resolution=limit).train.shape[0] for limit in (first, None, AtMost(160))}
    assert sides == {None: min(side, 64), AtMost(160): side}
    assert len(decoded) == (16 if side < 64 else 32)
    assert any("resized" in note for note in load(root).notes) == (side > 64)


@pytest.mark.parametrize("change", ["touched", "added", "removed", "renamed"])
def test_changed_source_replaces_its_entry(photos, decoded, cache, change):
    root = photos(COUNTS)
    load(root)
    file = root / "cat" / "00.png"
    if change == "touched":
        os.utime(file, ns=(1, 1))
    elif change == "added":
        (root / "cat" / "new.png").write_bytes(file.read_bytes())
    elif change == "removed":
        file.unlink()
    else:
        file.rename(root / "cat" / "other.png")
    before = len(decoded)
    data = load(root)
    assert len(decoded) - before == sum(len(split) for split in (data.train, data.validation, data.test))
    assert len(entries(cache)) == 1


@pytest.mark.parametrize("name", ["pixels.npy", "labels.npy", "ids.npy", "meta.json"])
@pytest.mark.parametrize("damage", ["cut", "gone", "garbage", "short"])
def test_damaged_entry_is_rebuilt(photos, cache, name, damage):
    root = photos(COUNTS)
    expected = load(root).train.fingerprint
    file = next((cache / "images").iterdir()) / name
    if damage == "cut":
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif damage == "gone":
        file.unlink()
    elif damage == "garbage":
        file.write_bytes(b"\0" * 300)
    elif name == "meta.json":
        file.write_text("{}")
    else:
        np.save(file, np.load(file)[:3])
    assert load(root).train.fingerprint == expected
    assert len(entries(cache)) == 1


def test_interrupt_or_failure_leaves_no_files(photos, cache, monkeypatch):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(build, "decode", stop)
    with pytest.raises(KeyboardInterrupt):
        load(photos(COUNTS))
    assert entries(cache) == []


def test_disk_space_is_checked_before_decoding(photos, cache, monkeypatch):
    usage = shutil.disk_usage(cache.parent)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=1000))
    with pytest.raises(UserError, match=r"take .* GB, and .* has 0\.0 GB left.*--resolution"):
        load(photos(COUNTS))
    assert entries(cache) == []


def test_full_disk_is_a_one_line_error_and_leaves_no_files(photos, cache, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(UserError, match=r"cannot write the image cache in .*no space left.*SHOESTRING_CACHE"):
        load(photos(COUNTS))
    assert entries(cache) == []


def test_cache_that_is_a_file_is_a_one_line_error(photos, cache):
    cache.write_text("not a folder")
    with pytest.raises(UserError, match=r"cannot write the image cache"):
        load(photos(COUNTS))


def test_two_processes_at_once_share_one_entry(photos, cache):
    root = photos({"cat": 60, "dog": 60})
    processes = [
        subprocess.Popen([sys.executable, "-c", LOAD, str(root)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(2)
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0] == outputs[1] and len(entries(cache)) == 1


def test_slower_process_uses_the_entry_of_the_faster_one(photos, cache, monkeypatch):
    root = photos(COUNTS)
    real, inner = build.decode, []

    def decode(image, **options):
        if not inner:
            inner.append(None)
            inner[0] = load(root)  # a complete load during this one
        return real(image, **options)

    monkeypatch.setattr(build, "decode", decode)
    outer = load(root)
    assert outer.train.fingerprint == inner[0].train.fingerprint and len(entries(cache)) == 1


def test_abandoned_build_is_removed_later(photos, cache):
    root = photos(COUNTS)
    script = (
        f"from shoestring.data import build; import os\nbuild.decode = lambda *a, **k: os.kill(os.getpid(), 9)\n{LOAD}"
    )
    assert subprocess.run([sys.executable, "-c", script, str(root)]).returncode == -9
    (left,) = entries(cache)
    assert left.startswith(".")
    data = load(root)
    assert len(data.train) and len(entries(cache)) == 2  # it could belong to a running process
    past = time.time() - 2 * cache_module._ABANDONED
    for path in [*(cache / "images" / left).iterdir(), cache / "images" / left]:
        os.utime(path, (past, past))
    load(root, resolution=6)
    assert left not in entries(cache)


def test_cache_root(monkeypatch, tmp_path):
    assert cache_root() == tmp_path / "cache"
    monkeypatch.delenv("SHOESTRING_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_root() == tmp_path / "xdg" / "shoestring"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_root() == tmp_path / ".cache" / "shoestring"


def test_fingerprints_depend_on_content_not_location(photos, tmp_path):
    root = photos(COUNTS)
    expected = load(root).train.fingerprint
    copy = tmp_path / "copy"
    root.rename(copy)
    assert load(copy).train.fingerprint == expected
    (copy / "dog").rename(copy / "wolf")
    assert load(copy).train.fingerprint != expected


def test_opening_a_cached_data_set_imports_nothing_heavy():
    heavy = ("torch", "torchvision", "datasets", "sklearn", "pyarrow")
    load("digits")
    script = (
        f"import sys; from shoestring.data import load; load('digits'); print([m for m in {heavy} if m in sys.modules])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True).strip() == "[]"


def test_entry_is_synced_before_it_is_published(photos, monkeypatch):
    events = []
    real_sync, real_rename = os.fsync, Path.rename

    def fsync(handle):
        events.append(Path(f"/proc/self/fd/{handle}").readlink().name)
        real_sync(handle)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "rename", lambda *names: events.append("rename") or real_rename(*names))
    load(photos(COUNTS))
    assert {"pixels.npy", "labels.npy", "ids.npy", "meta.json"} <= set(events[: events.index("rename")])
    assert events[-1] == "images"


@pytest.mark.parametrize("own", [None, "~/cache"])
def test_error_without_home_folder_names_the_variable(monkeypatch, own):
    def nobody(path):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "expanduser", nobody)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.delenv("SHOESTRING_CACHE") if own is None else monkeypatch.setenv("SHOESTRING_CACHE", own)
    with pytest.raises(UserError, match="no home folder for the image cache: set SHOESTRING_CACHE to"):
        cache_root()


@pytest.mark.parametrize(("side", "images"), [(12, 16), (1000, 4)])
def test_blocks_are_smaller_for_large_images(photos, monkeypatch, side, images):
    sizes = []
    real = build._decode_block
    monkeypatch.setattr(build, "_decode_block", lambda items, **more: sizes.append(len(items)) or real(items, **more))
    monkeypatch.setattr(build, "_MAX_BLOCK_BYTES", 12_000_000)
    data = load(photos(COUNTS), resolution=side)
    assert max(sizes) == images and sum(sizes) == len(data.train) + len(data.validation) + len(data.test)


def test_encoded_size_limits_blocks(monkeypatch):
    monkeypatch.setattr(build, "_MAX_BLOCK_BYTES", 1000)
    items = [Item(bytes(400), 0, str(index)) for index in range(7)]
    assert [len(block) for block in build._blocks(iter(items), 10)] == [3, 3, 1]
