"""The environment that torchrun sets, read before PyTorch is imported."""

from __future__ import annotations

import pytest

from shoestring.errors import UserError
from shoestring.runtime import distributed


def _set(monkeypatch, **values: str) -> None:
    for name, value in {
        "MASTER_ADDR": "localhost",
        "MASTER_PORT": "1",
        "WORLD_SIZE": "2",
        "RANK": "0",
        **values,
    }.items():
        monkeypatch.setenv(name, value)


@pytest.mark.parametrize("name", ["RANK", "LOCAL_RANK"])
@pytest.mark.parametrize("value", ["abc", "2", "-1", "", "²"])
def test_an_invalid_rank_is_an_error(monkeypatch, name, value):
    _set(monkeypatch, **{name: value})
    with pytest.raises(UserError, match=f"the environment variable {name} is '{value}'"):
        distributed.rank()


def test_the_rank_is_read(monkeypatch):
    _set(monkeypatch, RANK="1")
    assert distributed.rank() == 1
    _set(monkeypatch, RANK="abc", WORLD_SIZE="1")
    assert distributed.rank() == 0
