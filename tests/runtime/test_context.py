from __future__ import annotations

import pytest
import torch

from shoestring.errors import UserError
from shoestring.runtime.context import prepare


@pytest.mark.parametrize(("device", "made_current"), [("cuda", []), ("cuda:1", [1])])
def test_a_numbered_cuda_device_is_made_the_current_one(monkeypatch, device, made_current):
    current: list[int] = []
    zeros = torch.zeros

    def set_device(device: str) -> None:
        """Like torch's, which refuses a device without an index."""
        index = torch.device(device).index
        if index is None:
            raise ValueError(device)
        current.append(index)

    monkeypatch.setattr(torch.cuda, "set_device", set_device)
    monkeypatch.setattr(torch, "zeros", lambda *shape, device: zeros(*shape))
    assert prepare(device=device).device == device
    assert current == made_current


@pytest.mark.parametrize("device", ["cudas", "cuda:x", "graphics", "cuda:99", "cpu:0", "cpu:1"])
def test_an_unavailable_device_is_an_error(device):
    with pytest.raises(UserError, match=f"device '{device}'"):
        prepare(device=device)
