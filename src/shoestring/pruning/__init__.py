"""Pruning: from a trained model to a smaller one, by removing channels."""

from __future__ import annotations

from shoestring.pruning.allocate import select_channels
from shoestring.pruning.checks import check_has_effect, check_targets
from shoestring.pruning.sensitivity import measure_sensitivity
from shoestring.pruning.shrinking import shrink

__all__ = ["check_has_effect", "check_targets", "measure_sensitivity", "select_channels", "shrink"]
