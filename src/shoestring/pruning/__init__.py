"""Pruning: from a trained model to a smaller one, by removing channels."""

from __future__ import annotations

from shoestring.pruning.allocate import select_channels
from shoestring.pruning.shrinking import shrink

__all__ = ["select_channels", "shrink"]
