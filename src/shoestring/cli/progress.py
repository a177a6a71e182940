"""Progress on stderr: a live bar on a terminal; elsewhere a plain line at each tenth of the run."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

from shoestring.config.units import format_percent, format_seconds
from shoestring.escaping import printable

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

_REFRESH = 0.1  # seconds between two updates of the live bar
_MIN_FRACTION = 0.02  # from which the remaining time is extrapolated


class Progress:
    """Prints log messages, and the progress of the whole command.

    The displayed fraction never decreases: when a step restarts or its work grows, the bar waits.
    """

    def __init__(self, *, quiet: bool) -> None:
        self.quiet = quiet
        self._live = sys.stderr.isatty()
        self._printed: tuple[str, int] | None = None  # step and tenth of the last plain line
        self._bar: Bar | None = None
        self._refreshed = 0.0
        self._started = time.monotonic()
        self._fraction = 0.0
        self._validation: float | None = None

    def log(self, text: str) -> None:
        """Print a message on a line of its own."""
        if not self.quiet:
            self.close()
            print(printable(text), file=sys.stderr, flush=True)

    def warn(self, texts: Iterable[str]) -> None:
        """Print warnings about the results."""
        for text in texts:
            self.log(f"warning: {text}")

    def update(self, step: str, fraction: float, values: dict[str, Any]) -> None:
        """Show the progress of a step, from 0 to 1.

        `values` may contain the fraction of the whole command (`run`), which is shown instead, and its remaining
        seconds (`left`), which are extrapolated otherwise. The last `validation` accuracy is shown until the next one.
        """
        if self.quiet:
            return
        self._fraction = max(self._fraction, min(float(values.get("run", fraction)), 1.0))
        remaining = values.get("left", self._extrapolated())
        if isinstance(values.get("validation"), int | float):
            self._validation = values["validation"]
        if self._validation is not None:
            values = {**values, "validation": self._validation}
        details = printable(_details(values, remaining))
        if self._live:
            self._show(step, details)
        elif self._printed != (step, int(self._fraction * 10)):
            self._printed = (step, int(self._fraction * 10))
            line = f"{step:<8} {_plain_bar(self._fraction)} {int(100 * self._fraction):3} %  {details}"
            print(line.rstrip(), file=sys.stderr, flush=True)

    def loading(self, done: int, total: int) -> None:
        """Show how many images have been loaded; `total` is 0 if unknown."""
        self.update("load", done / total if total else 0.0, {"images": done})

    def close(self) -> None:
        """Remove the live bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _extrapolated(self) -> float:
        """Remaining seconds at the average speed so far; 0 while too little is done."""
        return (time.monotonic() - self._started) * (1 / self._fraction - 1) if self._fraction > _MIN_FRACTION else 0.0

    def _show(self, step: str, details: str) -> None:
        if self._bar is not None and time.monotonic() - self._refreshed < _REFRESH:
            return
        self._refreshed = time.monotonic()
        bar = self._bar or _live_bar()
        [task] = bar.task_ids
        bar.update(task, description=step, completed=self._fraction, details=details)
        if self._bar is None:
            self._bar = bar
            bar.start()  # draws it
        else:
            bar.refresh()


def _live_bar() -> Bar:
    """Return a bar with one task; it has no refresh thread, which would compete with the training for a core."""
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    column = partial(TextColumn, markup=False)
    bar = Bar(
        column("{task.description:<8}"),
        BarColumn(),
        column("{task.percentage:3.0f} %"),
        column("{task.fields[details]}"),
        console=Console(stderr=True),
        auto_refresh=False,
        transient=True,
    )
    bar.add_task("", total=1.0, details="")
    return bar


def _plain_bar(fraction: float, width: int = 24) -> str:
    full = int(fraction * width)
    return "[" + "#" * full + "-" * (width - full) + "]"


def _details(values: dict[str, Any], remaining: float) -> str:
    details = []
    if "loss" in values:
        details.append(f"loss {values['loss']:.3f}")
    if "validation" in values:
        details.append(f"validation {format_percent(values['validation'])}")
    if "epoch" in values:
        details.append(f"epoch {values['epoch']:.1f}")
    if "images" in values:
        details.append(f"{values['images']:,} {'image' if values['images'] == 1 else 'images'}")
    if "images_per_second" in values:
        details.append(f"{values['images_per_second']:,.0f} images/s")
    if remaining > 1:
        details.append(f"{format_seconds(remaining)} left")
    return "  ".join(details)
