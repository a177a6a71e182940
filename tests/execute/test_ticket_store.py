"""Results of a lottery ticket experiment, in memory and in a folder."""

from __future__ import annotations

import pytest
import torch

from shoestring.errors import UserError
from shoestring.execute.ticket_store import Store

ROW = {"seed": 0, "level": 1, "network": "ticket", "weights": 0.5}


@pytest.fixture(params=["memory", "folder"])
def store(request, tmp_path) -> Store:
    return Store(tmp_path if request.param == "folder" else None)


def test_tensors_are_kept_until_they_are_removed(store):
    tensors = {"a.weight": torch.arange(6.0).reshape(2, 3).T, "b": torch.tensor([True, False])}
    store.put("seed-0/level-01-ticket", tensors)
    kept = store.get("seed-0/level-01-ticket")
    assert kept.keys() == tensors.keys() and all(torch.equal(kept[name], tensors[name]) for name in tensors)
    store.remove("seed-0/level-01-ticket")
    store.remove("seed-0/level-01-ticket")
    assert store.get("seed-0/level-01-ticket") is None


def test_a_row_is_found_by_seed_level_and_network(store):
    store.add(ROW)
    assert store.find(0, 1, "ticket") == ROW
    assert store.find(1, 1, "ticket") is store.find(0, 2, "ticket") is store.find(0, 1, "random") is None


def test_rows_of_a_folder_are_read_again(tmp_path):
    Store(tmp_path).add(ROW)
    assert Store(tmp_path).rows == [ROW]
    (tmp_path / "rows.json").write_text('[{"seed": 0}]')
    with pytest.raises(UserError, match=r"rows\.json is corrupted"):
        Store(tmp_path)
