"""Progress on stderr: a live line on a terminal, a plain line each tenth elsewhere."""

from __future__ import annotations

import sys
import time
from typing import Any

from shoestring.budget import spell


class Progress:
    """Takes notes (`say`) and progress (`tick`) from the steps."""

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self._live = sys.stderr.isatty()
        self._shown: tuple[str, int] | None = None
        self._status: Any = None
        self._begun: dict[str, float] = {}

    def say(self, text: str) -> None:
        """A note for people."""
        if not self.quiet:
            self.close()
            print(text, file=sys.stderr, flush=True)

    def tick(self, step: str, fraction: float, values: dict[str, Any]) -> None:
        """Where a step stands; `fraction` runs from 0 to 1."""
        if self.quiet:
            return
        begun = self._begun.setdefault(step, time.monotonic())
        line = f"{step:<8} {_bar(fraction)} {100 * fraction:3.0f} %  {_values(values)}".rstrip()
        left = (time.monotonic() - begun) * (1 / fraction - 1) if fraction > 0.02 else 0.0
        line += f"  {spell(left)} left" if left > 1 else ""
        if self._live:
            self._show(line)
        elif self._shown != (step, int(fraction * 10)):
            self._shown = (step, int(fraction * 10))
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the live line."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _show(self, line: str) -> None:
        from rich.console import Console
        from rich.markup import escape

        if self._status is None:
            self._status = Console(stderr=True).status(escape(line))
            self._status.start()
        self._status.update(escape(line))


def _bar(fraction: float, width: int = 24) -> str:
    full = round(fraction * width)
    return "[" + "#" * full + "-" * (width - full) + "]"


def _values(values: dict[str, Any]) -> str:
    shown = []
    if "loss" in values:
        shown.append(f"loss {values['loss']:.3f}")
    if "epoch" in values:
        shown.append(f"epoch {values['epoch']:.1f}")
    if "images" in values:
        shown.append(f"{values['images']:,} images")
    return "  ".join(shown)
