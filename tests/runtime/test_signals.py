from __future__ import annotations

import signal
import time

import pytest

from shoestring.runtime.signals import GRACE_SECONDS, GracePeriod


def _signal() -> None:
    GracePeriod.on_signal(signal.SIGTERM, None)


def test_without_a_grace_period_a_signal_interrupts():
    with pytest.raises(KeyboardInterrupt):
        _signal()
    with GracePeriod():
        pass
    with pytest.raises(KeyboardInterrupt):
        _signal()


def test_the_first_signal_starts_a_countdown_the_second_interrupts(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with GracePeriod() as period:
        assert (period.started, period.remaining) == (False, 1.0)
        _signal()
        assert (period.started, period.remaining) == (True, 1.0)
        now[0] += GRACE_SECONDS / 4
        assert period.remaining == 0.75
        now[0] += GRACE_SECONDS
        assert period.remaining == 0.0
        with pytest.raises(KeyboardInterrupt):
            _signal()
