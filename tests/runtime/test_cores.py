from __future__ import annotations

import os

import pytest

from shoestring.runtime import cores as module
from shoestring.runtime.cores import cores


@pytest.mark.parametrize(
    ("limit", "expected"),
    [("max 100000", 4), ("250000 100000", 3), ("50000 100000", 1), ("900000 100000", 4), ("", 4), (None, 4)],
)
def test_cores_are_limited_by_affinity_and_container(monkeypatch, tmp_path, limit, expected):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 5}, raising=False)
    monkeypatch.setattr(module, "_LIMIT", tmp_path / "cpu.max")
    if limit is not None:
        (tmp_path / "cpu.max").write_text(limit)
    assert cores() == expected


def test_cores_where_there_is_no_affinity(monkeypatch, tmp_path):
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    monkeypatch.setattr(module, "_LIMIT", tmp_path / "cpu.max")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1
