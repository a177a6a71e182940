"""A network that starts shallow: some of its residual blocks are left out for a while, and come in as the identity."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from shoestring.growth.identity import identities, members


class Blocks:
    """The blocks of a network that can be left out for a while, in their order, and the weights at zero that it takes.

    A block whose last weights are zero adds nothing (Goyal et al. 2017 start residual networks like that, by the last
    batch norm). So the network with such blocks and the one without them compute the same, and a block that comes in
    begins to learn at the next step. `module` is the whole network, `example` an input (1, C, H, W) to it. Raises
    `ValueError` when there is no such block.
    """

    def __init__(self, module: nn.Module, example: Tensor) -> None:
        self.zeros = identities(module, example)
        if not self.zeros:
            raise ValueError("has no blocks that can be left out for a while.")
        # blocks one after the other, and whether one that must stay is before them in their stage
        self.runs: list[tuple[list[str], bool]] = []
        for names in members(module):
            for can, run in groupby(names, self.zeros.__contains__):
                if can:
                    self.runs.append((own := list(run), own[0] != names[0]))

    def left_out(self, depth: float) -> list[str]:
        """The blocks left out at this share of all: the last of each stage, of which the first stays in any case."""
        out: list[str] = []
        for run, after in self.runs:
            out += run[max(1, round(depth * (len(run) + after))) - after :]
        return out

    @torch.no_grad()
    def start(self, module: nn.Module, depth: float) -> None:
        """Leave blocks of a fresh network out, down to this share: it computes the same with and without them."""
        named = dict(module.named_parameters())
        for name in self.left_out(depth):
            for weight in self.zeros[name]:
                named[weight].zero_()
        self.deepen(module, depth)

    def deepen(self, module: nn.Module, depth: float) -> None:
        """Take this share of all blocks in, no others; all weights stay where they are.

        A block that is left out has the attribute `forward` of its own, so copies of the module have it too.
        """
        out = self.left_out(depth)
        for name in self.zeros:
            own = vars(module.get_submodule(name))
            own.pop("forward", None)
            if name in out:
                own["forward"] = _pass_on


def _pass_on(maps: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return maps
