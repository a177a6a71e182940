"""Cosines of many images on an accelerator, where the features lie once: products and sums there, choices here."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shoestring.selection.algorithms.similarity import Floats, Places, slices

if TYPE_CHECKING:
    import torch

_CELLS = 64_000_000  # cosines that are on the device at once: 256 MB
_ROOMS = 4  # times the cosines of a block that working on them may take
_MANY = 5_000  # images from which on the way to the device and back is worth it


def accelerates(device: str, features: Floats) -> bool:
    """Whether this device is an accelerator for features (N, D) that pays and has room. Apple's knows no float64."""
    if not device.startswith("cuda") or len(features) <= _MANY:
        return False
    return features.nbytes + _ROOMS * 4 * _CELLS <= _free(device)


def _free(device: str) -> int:
    """Bytes of the device's memory that nobody has taken."""
    import torch

    return torch.cuda.mem_get_info(device)[0]


class Accelerated:
    """The cosines of unit vectors (N, D), which are copied to the device; float32, summed up in float64."""

    room = 14_000_000

    def __init__(self, features: Floats, device: str) -> None:
        import torch

        self.features = torch.from_numpy(np.require(features, requirements="W")).to(device)  # torch warns of others

    def __len__(self) -> int:
        return len(self.features)

    def rows(self, places: Places | slice) -> Floats:
        """Some images against all (R, N)."""
        return (self.features[places] @ self.features.T).cpu().numpy()

    def all_gains(self, best: Floats) -> NDArray[np.float64]:
        """What every image would add (N,)."""
        import torch

        known = torch.from_numpy(best).to(self.features.device)
        parts = [block.sub_(known).clamp_(min=0).sum(1, dtype=torch.float64) for _, block in self._blocks()]
        return torch.cat(parts).cpu().numpy()

    def nearest(self, count: int) -> tuple[NDArray[np.int32], Floats]:
        """The `count` images most like each, itself among them: places (N, count) and cosines (N, count), unordered."""
        places = np.empty((len(self), count), dtype=np.int32)
        cosines = np.empty((len(self), count), dtype=np.float32)
        for rows, block in self._blocks():
            values, indices = block.topk(count, sorted=False)
            places[rows], cosines[rows] = indices.cpu().numpy(), values.cpu().numpy()
        return places, cosines

    def _blocks(self) -> Iterator[tuple[slice, torch.Tensor]]:
        """All rows, some at a time."""
        for rows in slices(len(self), max(1, _CELLS // len(self))):
            yield rows, self.features[rows] @ self.features.T
