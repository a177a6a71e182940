"""How a process is told to end: a termination signal interrupts, unless a training asks for time to end well."""

from __future__ import annotations

import time
import types
from typing import ClassVar

GRACE = 5.0  # seconds: container systems kill ten after they have asked


class Grace:
    """In its block the first termination signal only starts a countdown; the second one interrupts."""

    _hearing: ClassVar[Grace | None] = None

    def __init__(self) -> None:
        self._asked: float | None = None

    def __enter__(self) -> Grace:
        Grace._hearing = self
        return self

    def __exit__(self, *_: object) -> None:
        Grace._hearing = None

    @property
    def asked(self) -> bool:
        """Whether the signal has come."""
        return self._asked is not None

    @property
    def left(self) -> float:
        """The share of the grace period that is left: 1 until the signal comes, then falling to 0."""
        return 1.0 if self._asked is None else max(0.0, 1 - (time.monotonic() - self._asked) / GRACE)

    @staticmethod
    def on_signal(number: int, frame: types.FrameType | None) -> None:
        """Handle a termination signal; `KeyboardInterrupt` where nobody asked for grace, or it is given already."""
        grace = Grace._hearing
        if grace is None or grace.asked:
            raise KeyboardInterrupt
        grace._asked = time.monotonic()
