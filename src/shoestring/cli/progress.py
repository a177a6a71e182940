"""Progress on stderr: a live line on a terminal, elsewhere a plain line at each tenth of the run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from typing import Any

from shoestring.config.units import format_seconds
from shoestring.escaping import printable


class Progress:
    """Prints notes (`say`) and how far the command is (`tick`).

    What is shown is the fraction of the whole command, and it never falls: a step that goes back, or is given more to
    do, leaves it where it is.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self._live = sys.stderr.isatty()
        self._shown: tuple[str, int] | None = None
        self._status: Any = None
        self._begun = time.monotonic()
        self._most = 0.0

    def log(self, text: str) -> None:
        """A note for people, on a line of its own."""
        if not self.quiet:
            self.close()
            print(printable(text), file=sys.stderr, flush=True)

    def warn(self, texts: Iterable[str]) -> None:
        """What is wrong with the results."""
        for text in texts:
            self.log(f"warning: {text}")

    def update(self, step: str, fraction: float, values: dict[str, Any]) -> None:
        """How far a step is, `fraction` from 0 to 1.

        `values` may hold the fraction of the whole command as `run`, which is shown instead, and the seconds that are
        `left` of it, which are estimated otherwise.
        """
        if self.quiet:
            return
        self._most = max(self._most, min(float(values.get("run", fraction)), 1.0))
        line = f"{step:<8} {_bar(self._most)} {int(100 * self._most):3} %  {_values(values)}".rstrip()
        left = values.get("left", self._estimate())
        line = printable(line + (f"  {format_seconds(left)} left" if left > 1 else ""))
        if self._live:
            self._show(line)
        elif self._shown != (step, int(self._most * 10)):
            self._shown = (step, int(self._most * 10))
            print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """End the live line."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def _estimate(self) -> float:
        """Seconds that are left if the rest goes as fast as what is done; 0 while that says little."""
        return (time.monotonic() - self._begun) * (1 / self._most - 1) if self._most > 0.02 else 0.0

    def _show(self, line: str) -> None:
        from rich.console import Console
        from rich.text import Text

        if self._status is None:
            self._status = Console(stderr=True).status(Text(line))
            self._status.start()
        self._status.update(Text(line))


def _bar(fraction: float, width: int = 24) -> str:
    full = int(fraction * width)
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
