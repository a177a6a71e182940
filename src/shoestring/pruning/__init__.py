"""Pruning: from a trained model to a smaller one, by removing channels."""

from __future__ import annotations

from shoestring.pruning.allocate import select_channels
from shoestring.pruning.sensitivity import measure_sensitivity
from shoestring.pruning.shrinking import check_targets, shrink

__all__ = ["check_targets", "measure_sensitivity", "select_channels", "shrink"]
