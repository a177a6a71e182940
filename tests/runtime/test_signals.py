from __future__ import annotations

import signal
import time

import pytest

from shoestring.runtime.signals import GRACE, Grace


def _signal() -> None:
    Grace.on_signal(signal.SIGTERM, None)


def test_without_grace_a_signal_interrupts():
    with pytest.raises(KeyboardInterrupt):
        _signal()
    with Grace():
        pass
    with pytest.raises(KeyboardInterrupt):
        _signal()


def test_the_first_signal_starts_a_countdown_the_second_interrupts(monkeypatch):
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with Grace() as grace:
        assert (grace.asked, grace.left) == (False, 1.0)
        _signal()
        assert (grace.asked, grace.left) == (True, 1.0)
        now[0] += GRACE / 4
        assert grace.left == 0.75
        now[0] += GRACE
        assert grace.left == 0.0
        with pytest.raises(KeyboardInterrupt):
            _signal()
