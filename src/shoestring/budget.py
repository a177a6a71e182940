"""The budget of a run: what may be spent, what was spent on which step, and what is reserved for the end.

A budget counts seconds of wall clock, training epochs, or floating-point operations. Learning rate, resolution and
width are functions of the fraction spent, so that every schedule ends exactly when the budget does (Li et al. 2020,
"Budgeted Training", extended from iterations to seconds).
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from shoestring.config.units import Duration, Flops, format_seconds, parse_quantity, parse_seconds
from shoestring.errors import BudgetTooSmall, UserError, unknown

Unit = Literal["seconds", "epochs", "flops"]

WEIGHTS = {"select": 0.25, "train": 0.30, "prune": 0.45}  # how a budget is divided among its steps
DEFAULT_EPOCHS = 10.0
SAFETY_FACTOR = 1.2  # on the measured time of predictions, because the machine may be slower later
_SLOWEST_START = 5.0  # seconds that Python may take to reach the first line of shoestring, waiting for the disk


def process_started() -> float:
    """Return when this process started (`time.monotonic` scale), so that start-up and imports count as well.

    Call it early. A shell may replace itself by its last command (`sh -c "sleep 100; shoestring ..."`). The start that
    the system reports is then that of the shell, long before, and the processor time used so far is a better estimate.
    """
    now, used = time.monotonic(), time.process_time()
    try:
        ticks = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (OSError, AttributeError, IndexError, ValueError):
        age = used
    return now - max(age if age < used + _SLOWEST_START else used, 0.0)


class Budget:
    """What a run may spend: exactly one of `time` ("5m", or seconds), `epochs` and `flops`.

    `steps` are the steps that the budget is divided among, in order: `Budget("5m", steps=("train", "prune"))`, or a
    mapping to weights; known steps are "select", "train" and "prune". `started` is when the clock started
    (`time.monotonic` scale; by default now). `seconds_per_pass` is the measured time of one image's forward pass, None
    before it is measured; `slowdown` the current time of a step relative to an idle machine; `ledger` the seconds spent
    by step.
    """

    def __init__(
        self,
        time: str | float | None = None,
        *,
        epochs: float | None = None,
        flops: str | float | None = None,
        steps: Sequence[str] | Mapping[str, float] | None = None,
        started: float | None = None,
    ) -> None:
        if sum(value is not None for value in (time, epochs, flops)) != 1:
            raise UserError("a budget is one of time, epochs or flops.")
        self.unit: Unit = "seconds" if time is not None else "epochs" if epochs is not None else "flops"
        amount = time if time is not None else epochs if epochs is not None else flops
        assert amount is not None
        timed = self.unit == "seconds"
        self.total = parse_seconds(amount) if timed else parse_quantity(amount, what=f"number of {self.unit}")
        as_given = isinstance(amount, str | Duration | Flops)
        self._text = "".join(str(amount).split()) if as_given else f"{self.total:g}{'s' if timed else ''}"
        self.weights = _weights(("select", "train") if steps is None else steps)
        self._started = _monotonic() if started is None else started
        self._elapsed_before = 0.0
        self.counted = 0.0
        self.ledger: dict[str, float] = {}
        self._reserved: dict[str, tuple[float, int]] = {}
        self.seconds_per_pass: float | None = None
        self.slowdown = 1.0

    @classmethod
    def resume(cls, *args: Any, before: float, spent: float, ledger: Mapping[str, float], **kwargs: Any) -> Budget:
        """Return the budget of an interrupted run; other arguments are those of `Budget`.

        The run took `before` seconds, with this `ledger`, and counted `spent` epochs or FLOPs if that is its unit.
        """
        budget = cls(*args, **kwargs)
        budget._elapsed_before = before
        budget.counted = spent if budget.unit != "seconds" else 0.0
        budget.ledger = dict(ledger)
        return budget

    @property
    def elapsed(self) -> float:
        """Seconds since the clock started, including those of an interrupted run."""
        return self._elapsed_before + _monotonic() - self._started

    @property
    def spent(self) -> float:
        """What was spent, in the budget's unit."""
        return self.elapsed if self.unit == "seconds" else self.counted

    @property
    def reserved(self) -> float:
        """What is reserved for the end: fixed seconds, and images to predict at the measured speed."""
        if self.unit != "seconds":
            return 0.0
        fixed = self.slowdown * sum(seconds for seconds, _ in self._reserved.values())
        return fixed + self._predict_seconds(self.reserved_images)

    @property
    def reserved_images(self) -> int:
        """Number of forward passes of one image that are reserved for the end."""
        return sum(images for _, images in self._reserved.values())

    def remaining_for(self, name: str) -> float:
        """Return what may still be spent under this name: all but what is reserved for others; negative when late."""
        seconds, images = self._reserved.get(name, (0.0, 0))
        return self.total - self.spent - self.reserved + self.slowdown * seconds + self._predict_seconds(images)

    def _predict_seconds(self, images: int) -> float:
        return SAFETY_FACTOR * (self.seconds_per_pass or 0.0) * images

    @property
    def remaining(self) -> float:
        """What may still be spent, without the reserve; never negative."""
        return max(self.total - self.reserved - self.spent, 0.0)

    def reserve(self, name: str, seconds: float = 0.0, *, images: int = 0) -> None:
        """Reserve seconds, and the time to predict `images`, for a later step; replaces what the name had reserved."""
        self._reserved[name] = (seconds, images)

    def release(self, name: str) -> None:
        """Release what is reserved under this name."""
        self._reserved.pop(name, None)

    def charge(self, *, epochs: float = 0.0, flops: float = 0.0) -> None:
        """Count work done, if it is in the budget's unit."""
        self.counted += epochs if self.unit == "epochs" else flops if self.unit == "flops" else 0.0

    @contextlib.contextmanager
    def track(self, name: str) -> Iterator[None]:
        """Add the seconds that the block takes to the ledger under this name, and release what is reserved for it."""
        before = _monotonic()
        try:
            yield
        finally:
            self.ledger[name] = self.ledger.get(name, 0.0) + _monotonic() - before
            self.release(name)

    def window(self, step: str, *, fraction: float | None = None) -> Window:
        """Return what a step may spend: a fraction of all that remains, by default by the weights."""
        if fraction is None:
            order = list(self.weights)
            later = order[order.index(step) :] if step in order else []
            fraction = self.weights[step] / sum(self.weights[name] for name in later) if later else 1.0
        return Window(self, self.spent, fraction)

    def too_small(self, least: float, *, why: str) -> BudgetTooSmall:
        """Return the error for a budget that cannot hold the work; `least`, in the budget's unit, would.

        If most of the budget is reserved for the end, the message mentions that.
        """
        flag = {"seconds": "time", "epochs": "epochs", "flops": "flops"}[self.unit]
        if self.unit == "seconds":
            least = float(math.ceil(least))
            images = self.reserved_images
            if self.reserved > self.total / 2 and images:
                why += f", as evaluation on {images:,} images and the end take {format_seconds(self.reserved)}"
        needed = f"{least:g}s" if self.unit == "seconds" else f"{least:.3g}"
        return BudgetTooSmall(
            f"--{flag} {self._text} is too small: {why}. The least that works is --{flag} {needed}.", least=least
        )


class Window:
    """What one step may spend: `portion` (0 to 1) of what remained unreserved at `start`.

    `fraction` grows from 0 to 1 while it is spent. The end moves when the reserve changes.
    """

    def __init__(self, budget: Budget, start: float, portion: float) -> None:
        self.budget, self.start, self.portion = budget, start, portion

    @property
    def end(self) -> float:
        """Where the window ends on the budget's scale."""
        return self.start + max(self.portion * (self.budget.total - self.budget.reserved - self.start), 0.0)

    @property
    def length(self) -> float:
        """Length of the window in the budget's unit."""
        return self.end - self.start

    def restart(self) -> None:
        """Start again from what is spent now, with the same end."""
        end, self.start = self.end, self.budget.spent
        remaining = self.budget.total - self.budget.reserved - self.start
        self.portion = min(max(end - self.start, 0.0) / remaining, 1.0) if remaining > 0 else self.portion

    @property
    def remaining(self) -> float:
        """What may still be spent; never negative."""
        return max(self.end - self.budget.spent, 0.0)

    @property
    def fraction(self) -> float:
        """Spent over length, from 0 to 1."""
        return self.ahead(0.0)

    def ahead(self, amount: float) -> float:
        """Return the fraction once `amount` more is spent; at most 1."""
        return min((self.budget.spent - self.start + amount) / self.length, 1.0) if self.length > 0 else 1.0


def _weights(steps: Sequence[str] | Mapping[str, float]) -> dict[str, float]:
    """The weight of each step. Raises `UserError` for unknown steps, and unless weights are above zero."""
    steps = (steps,) if isinstance(steps, str) else steps
    for name in steps:
        if name not in WEIGHTS:
            raise unknown("step of a budget", str(name), WEIGHTS)
    if not isinstance(steps, Mapping):
        return {name: WEIGHTS[name] for name in steps}
    for name, weight in steps.items():
        if not 0 < weight < math.inf:
            raise UserError(f"the weight of the step '{name}' must be a number above 0, not {weight}.")
    return dict(steps)


def _monotonic() -> float:
    return time.monotonic()
