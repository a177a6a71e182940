"""One clock, one ledger, one reserve: what a run may spend, what it has spent, what it must keep for the end.

A budget counts seconds of wall clock, or training epochs, or floating-point operations. Learning rate, resolution and
width are functions of the fraction spent, so that every schedule ends exactly when the budget does (Li et al. 2020,
"Budgeted Training", extended from iterations to seconds).
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from shoestring.config.units import format_seconds, parse_quantity, parse_seconds
from shoestring.errors import BudgetTooSmall, UserError

Unit = Literal["seconds", "epochs", "flops"]

# How a budget is divided between the steps it has to pay for, before anything is measured.
WEIGHTS = {"select": 0.25, "train": 0.30, "prune": 0.45}
USUAL_EPOCHS = 10.0  # where no budget is given
# Evaluation is paid for at the measured pace times this, because the machine may be slower then.
CAUTION = 1.2
_SLOWEST_START = 5.0  # seconds that Python may take from nothing to the first line of ours, waiting for the disk


def process_started() -> float:
    """When this process began, on the scale of `time.monotonic`: interpreter start-up and imports are paid for too.

    To be called early. A shell may become its last command without a new process (`sh -c "sleep 100; shoestring ..."`);
    then the system's start is the shell's, long before, and the processor time used so far tells better.
    """
    now, used = time.monotonic(), time.process_time()
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, IndexError, ValueError):
        age = used
    return now - max(age if age < used + _SLOWEST_START else used, 0.0)


class Budget:
    """What a run may spend. Exactly one of `time` ("5m", seconds), `epochs` or `flops` is given.

    `steps` names the steps the budget will pay for, in order, so that each leaves room for the next:
    `Budget("5m", steps=("train", "prune"))`; a mapping gives the weights. `started` is when the clock began
    (`time.monotonic` scale; now, when None). `spent` of the unit, `before` seconds and `ledger` are what an interrupted
    run had used.
    """

    def __init__(
        self,
        time: str | float | None = None,
        *,
        epochs: float | None = None,
        flops: str | float | None = None,
        steps: Sequence[str] | dict[str, float] | None = None,
        started: float | None = None,
        spent: float = 0.0,
        before: float | None = None,
        ledger: dict[str, float] | None = None,
    ) -> None:
        if sum(value is not None for value in (time, epochs, flops)) != 1:
            raise UserError("a budget is one of time, epochs or flops.")
        self.unit: Unit = "seconds" if time is not None else "epochs" if epochs is not None else "flops"
        if time is not None:
            self.total = parse_seconds(time)
        else:
            self.total = parse_quantity(epochs if epochs is not None else flops or 0, what=f"number of {self.unit}")
        steps = ("select", "train") if steps is None else steps
        self.weights = dict(steps) if isinstance(steps, dict) else {name: WEIGHTS[name] for name in steps}
        self._started = _monotonic() if started is None else started
        self._before = before or (spent if self.unit == "seconds" else 0.0)
        self.counted = spent if self.unit != "seconds" else 0.0
        self.ledger: dict[str, float] = dict(ledger or {})
        self._reserved: dict[str, tuple[float, int]] = {}
        self.pace: float | None = None
        self.slowdown = 1.0  # seconds by now per second of an idle machine

    @property
    def elapsed(self) -> float:
        """Seconds since the clock began, those of an interrupted run before included."""
        return self._before + _monotonic() - self._started

    @property
    def spent(self) -> float:
        """What is used up, in the budget's unit."""
        return self.elapsed if self.unit == "seconds" else self.counted

    @property
    def reserved(self) -> float:
        """What must be kept for the end: fixed seconds, and images to be evaluated at the measured pace."""
        if self.unit != "seconds":
            return 0.0
        fixed = self.slowdown * sum(cost for cost, _ in self._reserved.values())
        return fixed + CAUTION * (self.pace or 0.0) * sum(images for _, images in self._reserved.values())

    def remaining_for(self, name: str) -> float:
        """What may still be spent under this name: all but what is kept for other names; below zero when late."""
        seconds, images = self._reserved.get(name, (0.0, 0))
        return self.total - self.spent - self.reserved + seconds + CAUTION * (self.pace or 0.0) * images

    @property
    def remaining(self) -> float:
        """What may still be spent, the reserve taken off; never below zero."""
        return max(self.total - self.reserved - self.spent, 0.0)

    def reserve(self, name: str, seconds: float = 0.0, *, images: int = 0) -> None:
        """Keep so many seconds, and the time to evaluate so many images, for a later step; replaces the last word."""
        self._reserved[name] = (seconds, images)

    def release(self, name: str) -> None:
        """What was owed under this name is done."""
        self._reserved.pop(name, None)

    def charge(self, *, epochs: float = 0.0, flops: float = 0.0) -> None:
        """Count work done, for budgets that count it."""
        self.counted += epochs if self.unit == "epochs" else flops if self.unit == "flops" else 0.0

    @contextlib.contextmanager
    def track(self, name: str) -> Iterator[None]:
        """Write the seconds that the block takes under this name in the ledger, and drop what was owed for it."""
        before = _monotonic()
        try:
            yield
        finally:
            self.ledger[name] = self.ledger.get(name, 0.0) + _monotonic() - before
            self.release(name)

    def window(self, step: str, *, share: float | None = None) -> Window:
        """The stretch that a step may spend: its share of all that is left, by default by the weights."""
        if share is None:
            order = list(self.weights)
            later = order[order.index(step) :] if step in order else []
            share = self.weights[step] / sum(self.weights[name] for name in later) if later else 1.0
        return Window(self, self.spent, share)

    def refuse(self, least: float, *, why: str) -> BudgetTooSmall:
        """The error for a budget that cannot hold the work; `least` is in the budget's unit.

        It tells what is kept for the end, too, where that is the larger part.
        """
        flag = {"seconds": "time", "epochs": "epochs", "flops": "flops"}[self.unit]
        if self.unit == "seconds":
            least = float(math.ceil(least))
            asked, needed = f"{self.total:g}s", f"{least:g}s"
            images = sum(count for _, count in self._reserved.values())
            if self.reserved > self.total / 2 and images:
                why += f", as evaluation on {images:,} images and the end take {format_seconds(self.reserved)}"
        else:
            asked, needed = f"{self.total:g}", f"{least:.3g}"
        return BudgetTooSmall(
            f"--{flag} {asked} is too small: {why}. The least that works is --{flag} {needed}.", least=least
        )


class Window:
    """A stretch of a budget; `fraction` runs from 0 to 1 while it is spent. Its end moves when the reserve does."""

    def __init__(self, budget: Budget, start: float, share: float) -> None:
        self.budget, self.start, self.share = budget, start, share

    @property
    def end(self) -> float:
        """Where the stretch ends on the budget's scale."""
        return self.start + max(self.share * (self.budget.total - self.budget.reserved - self.start), 0.0)

    @property
    def length(self) -> float:
        """The whole stretch, in the budget's unit."""
        return self.end - self.start

    def restart(self) -> None:
        """Let the fraction run from here on, to the same end."""
        end, self.start = self.end, self.budget.spent
        rest = self.budget.total - self.budget.reserved - self.start
        self.share = min(max(end - self.start, 0.0) / rest, 1.0) if rest > 0 else self.share

    @property
    def remaining(self) -> float:
        """What may still be spent of it; never below zero."""
        return max(self.end - self.budget.spent, 0.0)

    @property
    def fraction(self) -> float:
        """Spent over available, from 0 to 1."""
        return self.ahead(0.0)

    def ahead(self, amount: float) -> float:
        """The fraction when this much more will be spent, at most 1."""
        return min((self.budget.spent - self.start + amount) / self.length, 1.0) if self.length > 0 else 1.0


def _monotonic() -> float:
    return time.monotonic()
