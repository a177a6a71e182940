"""Growing depth: some residual blocks are skipped at first, and added as the identity."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from shoestring.growth.identity_blocks import container_members, find_identity_blocks


class GrowableBlocks:
    """The residual blocks of a network that can be skipped at first, and the weights that must be zero for it.

    A block whose last weights are zero adds nothing (Goyal et al. 2017 initialize residual networks this way, by the
    last batch norm). So the network computes the same with and without such blocks, and a block that is added learns
    from the next step on. `zeros` maps block names to the names of these weights. `module` is the whole network,
    `example` an input (1, C, H, W). Raises `ValueError` if there is no such block.
    """

    def __init__(self, module: nn.Module, example: Tensor) -> None:
        self.zeros = find_identity_blocks(module, example)
        if not self.zeros:
            raise ValueError("has no residual blocks that can be skipped.")
        # consecutive blocks, and whether another member of their container comes before them
        self._runs: list[tuple[list[str], bool]] = []
        for names in container_members(module):
            for is_growable, run in groupby(names, self.zeros.__contains__):
                if is_growable:
                    self._runs.append((own := list(run), own[0] != names[0]))

    def skipped(self, depth: float) -> list[str]:
        """Return the blocks to skip at this depth: the last of each container, whose first member is always used."""
        skipped: list[str] = []
        for run, has_predecessor in self._runs:
            skipped += run[max(1, round(depth * (len(run) + has_predecessor))) - has_predecessor :]
        return skipped

    @torch.no_grad()
    def start(self, module: nn.Module, depth: float) -> None:
        """Skip blocks of a freshly initialized network, and zero the weights that make them the identity."""
        named = dict(module.named_parameters())
        for name in self.skipped(depth):
            for weight in self.zeros[name]:
                named[weight].zero_()
        self.deepen(module, depth)

    def deepen(self, module: nn.Module, depth: float) -> None:
        """Use exactly this fraction of the blocks; no weights change.

        A skipped block has its own `forward` attribute, so copies of the module skip it too.
        """
        skipped = self.skipped(depth)
        for name in self.zeros:
            attributes = vars(module.get_submodule(name))
            attributes.pop("forward", None)
            if name in skipped:
                attributes["forward"] = _identity


def _identity(maps: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return maps
