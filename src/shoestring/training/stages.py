"""The growth stage of a network in training."""

from __future__ import annotations

from torch import Tensor

from shoestring.evaluation.cost import count_macs
from shoestring.growth import Stage
from shoestring.growth.deepening import GrowableBlocks
from shoestring.growth.image_size import stage_side
from shoestring.growth.widening import GrowableChannels
from shoestring.models.model import Model
from shoestring.training.optimizer import CombinedOptimizer


class GrowthState:
    """Grows a network from stage to stage; `width` and `depth` are fractions of the whole, `side` is in pixels.

    `channels` and `blocks` hold the channels and blocks to be added (None where width or depth does not grow). `macs`
    is per image, for the whole network at full resolution.
    """

    def __init__(
        self,
        model: Model,
        macs: float,
        first: Stage,
        *,
        channels: GrowableChannels | None = None,
        blocks: GrowableBlocks | None = None,
    ) -> None:
        self.model, self.macs, self.channels, self.blocks = model, macs, channels, blocks
        self.width, self.depth = first.width, first.depth
        self.full = self.side = model.preprocessing.resolution
        self._measure()

    @property
    def work(self) -> float:
        """FLOPs of a step over those of the whole network at full resolution."""
        return self._fraction * (self.side / self.full) ** 2

    @property
    def complete(self) -> bool:
        """Whether all channels and blocks have been added."""
        return self.width == self.depth == 1

    def advance(self, stage: Stage, optimizer: CombinedOptimizer, averages: list[dict[str, Tensor]]) -> bool:
        """Enter this stage; returns whether the network has grown.

        It never shrinks, although the fraction spent decreases a little when a reserve is reduced.
        """
        module, grown = self.model.module, False
        if stage.width > self.width:
            assert self.channels is not None
            self.channels.widen(module, self.width, stage.width, optimizers=optimizer.parts, averages=averages)
            self.width, grown = stage.width, True
        if stage.depth > self.depth:
            assert self.blocks is not None
            self.blocks.deepen(module, stage.depth)
            self.depth, grown = stage.depth, True
        if grown:
            self._measure()
        self.side = stage_side(stage, self.full)
        return grown

    def restore(self, width: float, depth: float) -> None:
        """Continue in the stage of a loaded network."""
        self.width, self.depth = width, depth
        if self.blocks is not None:
            self.blocks.deepen(self.model.module, depth)
        self._measure()

    def _measure(self) -> None:
        self._fraction = 1.0 if self.complete else count_macs(self.model) / self.macs
