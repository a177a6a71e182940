"""The channel map: which channels belong together, and surgery that cuts them everywhere at once."""

from __future__ import annotations

from shoestring.channels.surgery import drop
from shoestring.channels.table import Group, Kept, Table, trace

__all__ = ["Group", "Kept", "Table", "drop", "trace"]
