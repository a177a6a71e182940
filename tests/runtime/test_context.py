from __future__ import annotations

import pytest
import torch

from shoestring.errors import UserError
from shoestring.runtime.context import prepare


@pytest.mark.parametrize(("device", "made_current"), [("cuda", []), ("cuda:1", [1])])
def test_a_cuda_device_is_made_the_current_one_where_it_has_a_number(monkeypatch, device, made_current):
    found: list[int] = []
    zeros = torch.zeros

    def set_device(wanted: str) -> None:
        """As torch's, which takes no device without a number."""
        index = torch.device(wanted).index
        if index is None:
            raise ValueError(wanted)
        found.append(index)

    monkeypatch.setattr(torch.cuda, "set_device", set_device)
    monkeypatch.setattr(torch, "zeros", lambda *shape, device: zeros(*shape))
    assert prepare(device=device).device == device
    assert found == made_current


@pytest.mark.parametrize("device", ["cudas", "cuda:x", "graphics", "cuda:99"])
def test_a_device_that_is_not_there_is_told(device):
    with pytest.raises(UserError, match=f"device '{device}'"):
        prepare(device=device)
