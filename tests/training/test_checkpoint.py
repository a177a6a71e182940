from __future__ import annotations

import sys

import pytest
import torch

from shoestring.training.checkpoint import Checkpoint


def test_checkpoints_are_whole_or_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[Checkpoint.__module__], "_is_state", lambda saved: True)  # two values will do here
    checkpoint = Checkpoint(tmp_path / "train")
    assert checkpoint.load() is None
    assert not checkpoint.due()
    checkpoint.save({"steps": 3, "weights": [torch.ones(2)]})
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save({"steps": 4})
    saved = checkpoint.load()
    assert saved is not None and saved.content["steps"] == 3
    assert [file.name for file in (tmp_path / "train").iterdir()] == ["state.pt"]


def test_without_a_folder_nothing_is_kept():
    checkpoint = Checkpoint(None)
    checkpoint.save({"steps": 1})
    assert checkpoint.load() is None
    assert not checkpoint.due()
