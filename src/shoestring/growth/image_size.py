"""The size of the images at each stage of growth."""

from __future__ import annotations

from typing import Any

from shoestring.growth import Schedule, Stage
from shoestring.growth.compose import stages_of

_CROPPED = 32  # images up to this side are cropped to the size of a stage, larger ones are resized


def stage_side(stage: Stage, full: int) -> int:
    """Side of the images in a stage, in pixels: a multiple of four, at least eight, at most the full resolution."""
    return full if stage.resolution >= 1 else min(full, max(8, round(stage.resolution * full / 4) * 4))


def cannot_shrink(schedule: Schedule, full: int) -> bool:
    """Whether the resolution should grow but cannot, because the images are as small as images get."""
    smaller = [stage for stage in stages_of(schedule) if stage.resolution < 1]
    return bool(smaller) and all(stage_side(stage, full) == full for stage in smaller)


def resizing(side: int, full: int) -> dict[str, Any]:
    """Arguments of `Batches.draw` for batches of this side: a crop of small images, a smaller scale of large ones."""
    if side == full:
        return {}
    return {"crop": side} if full <= _CROPPED else {"resolution": side}
