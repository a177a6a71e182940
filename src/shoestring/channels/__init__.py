"""The channel map: which channels belong together, and surgery that changes them everywhere at once."""

from __future__ import annotations

from shoestring.channels.compensation import compensate
from shoestring.channels.constants import fold_constants
from shoestring.channels.merging import equal_channels, merge, merge_proportional
from shoestring.channels.surgery import Edit, Remembering, drop, operate
from shoestring.channels.table import Group, Kept, Table
from shoestring.channels.tracer import Axis
from shoestring.channels.tracing import trace
from shoestring.channels.widening import widen

__all__ = [
    "Axis",
    "Edit",
    "Group",
    "Kept",
    "Remembering",
    "Table",
    "compensate",
    "drop",
    "equal_channels",
    "fold_constants",
    "merge",
    "merge_proportional",
    "operate",
    "trace",
    "widen",
]
