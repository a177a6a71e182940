"""Cosine similarities on a GPU: products and sums on the device, selection on the host."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.similarity import Floats, Indices, slices

if TYPE_CHECKING:
    import torch

_MAX_CELLS = 64_000_000  # cosines on the device at once: 256 MB
_OVERHEAD = 4  # peak memory of processing a block, in multiples of its cosines
_MIN_IMAGES = 5_000  # below that the transfer costs more than the GPU saves


def gpu_pays_off(device: str, features: Floats) -> bool:
    """Whether features (N, D) are processed faster on this device and fit. CUDA only: MPS has no float64."""
    if not device.startswith("cuda") or len(features) <= _MIN_IMAGES:
        return False
    return features.nbytes + _OVERHEAD * 4 * _MAX_CELLS <= _free_memory(device)


def _free_memory(device: str) -> int:
    """Free memory of the device in bytes."""
    import torch

    return torch.cuda.mem_get_info(device)[0]


class GpuSimilarity:
    """Cosines of unit vectors (N, D) that are copied to the device; float32, summed in float64."""

    max_pairs = 14_000_000

    def __init__(self, features: Floats, device: str) -> None:
        import torch

        # PyTorch warns about arrays that are not writable
        self.features = torch.from_numpy(np.require(features, requirements="W")).to(device)

    def __len__(self) -> int:
        return len(self.features)

    def rows(self, indices: Indices | slice) -> Floats:
        """Return the similarities of some images to all images (R, N)."""
        return (self.features[indices] @ self.features.T).cpu().numpy()

    def all_gains(self, best: Floats) -> NDArray[np.float64]:
        """Return the gain of every image (N,)."""
        import torch

        threshold = torch.from_numpy(best).to(self.features.device)
        parts = [block.sub_(threshold).clamp_(min=0).sum(1, dtype=torch.float64) for _, block in self._blocks()]
        return torch.cat(parts).cpu().numpy()

    def nearest(self, count: int) -> tuple[NDArray[np.int32], Floats]:
        """Return the `count` nearest images of each, itself among them: indices and cosines (N, count), unordered."""
        indices = np.empty((len(self), count), dtype=np.int32)
        cosines = np.empty((len(self), count), dtype=np.float32)
        for rows, block in self._blocks():
            values, columns = block.topk(count, sorted=False)
            indices[rows], cosines[rows] = columns.cpu().numpy(), values.cpu().numpy()
        return indices, cosines

    def _blocks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        for rows in slices(len(self), max(1, _MAX_CELLS // len(self))):
            yield rows, self.features[rows] @ self.features.T
