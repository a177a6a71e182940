"""The channel map: which channels belong together, and surgery that changes them in all layers at once."""

from __future__ import annotations

from shoestring.channels.compensation import compensate
from shoestring.channels.constant_folding import fold_constants
from shoestring.channels.edits import Edit
from shoestring.channels.merging import equal_channels, merge, merge_proportional
from shoestring.channels.optimizer_state import StatefulOptimizer
from shoestring.channels.refitting import refit
from shoestring.channels.surgery import apply_edits, drop
from shoestring.channels.table import Axis, Group, Kept, Table
from shoestring.channels.tracing import trace
from shoestring.channels.widening import widen

__all__ = [
    "Axis",
    "Edit",
    "Group",
    "Kept",
    "StatefulOptimizer",
    "Table",
    "apply_edits",
    "compensate",
    "drop",
    "equal_channels",
    "fold_constants",
    "merge",
    "merge_proportional",
    "refit",
    "trace",
    "widen",
]
