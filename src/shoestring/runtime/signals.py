"""Termination signals: they interrupt, unless a training run asks for a grace period to finish cleanly."""

from __future__ import annotations

import time
import types
from typing import ClassVar

GRACE_SECONDS = 5.0  # container systems send SIGKILL ten seconds after SIGTERM


class GracePeriod:
    """Inside the block, the first termination signal only starts a countdown; the second one interrupts."""

    _active: ClassVar[GracePeriod | None] = None

    def __init__(self) -> None:
        self._signal_time: float | None = None

    def __enter__(self) -> GracePeriod:
        GracePeriod._active = self
        return self

    def __exit__(self, *_: object) -> None:
        GracePeriod._active = None

    @property
    def started(self) -> bool:
        """Whether a signal has been received."""
        return self._signal_time is not None

    @property
    def remaining(self) -> float:
        """Remaining fraction of the grace period: 1 until a signal is received, then falling to 0."""
        if self._signal_time is None:
            return 1.0
        return max(0.0, 1 - (time.monotonic() - self._signal_time) / GRACE_SECONDS)

    @staticmethod
    def on_signal(number: int, frame: types.FrameType | None) -> None:
        """Handle a termination signal. Raises `KeyboardInterrupt` outside a grace period, or when one has started."""
        period = GracePeriod._active
        if period is None or period.started:
            raise KeyboardInterrupt
        period._signal_time = time.monotonic()
