from __future__ import annotations

import torch
from torch import nn

from shoestring.runtime import device


def test_convolutions_that_would_corrupt_memory_use_other_kernels(monkeypatch):
    cases = [(5, 2, True, False), (8, 2, True, True), (5, 1, True, True), (5, 2, False, True)]
    for channels, stride, lacks_avx512, expected in cases:
        monkeypatch.setattr(device, "_lacks_avx512", lambda lacking=lacks_avx512: lacking)
        layer = nn.Sequential(nn.Conv2d(3, channels, 3), nn.Conv2d(channels, 10, 1, stride=stride))
        with device.safe_convolutions(layer, "cpu"):
            assert torch.backends.mkldnn.enabled is expected
        assert torch.backends.mkldnn.enabled
