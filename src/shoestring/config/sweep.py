"""Settings of experiments, which are several runs: what is varied, repeated and divided into folds."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from shoestring.config.fields import Section, option
from shoestring.errors import UserError, quoted

DEFAULT_TRIALS = 20
_NUMBER = r"[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?"
_RANGE = re.compile(rf"(?P<low>{_NUMBER})\.\.(?P<high>{_NUMBER})(?P<log>:log)?")


@dataclass(frozen=True)
class Axis:
    """A setting that is varied: its `values`, or a range from `low` to `high`, on a logarithmic scale if `log`."""

    name: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False
    whole: bool = False  # integers only

    @property
    def is_range(self) -> bool:
        """Whether it is a range."""
        return not self.values

    @property
    def examples(self) -> tuple[Any, ...]:
        """The values, or both ends of the range."""
        return self.values or (self.number(self.low), self.number(self.high))

    def number(self, value: float) -> int | float:
        """Return a value within the range, as an integer if all are, else with four significant digits."""
        number = round(value) if self.whole else float(f"{value:.4g}")
        return min(max(number, self.low), self.high) if not self.whole else number


def parse_over(given: Any) -> dict[str, Any]:
    """Return settings with their lists of values, or ranges as text, from 'a.b=1,2', several of them, or a mapping.

    Values are separated by commas, or by semicolons if they contain commas. Raises `UserError` for a text without "=",
    a setting without values, with the same value twice, or given twice, and for ranges that are none.
    """
    pairs: list[tuple[str, Any]] = []
    if isinstance(given, Mapping):
        pairs = [(str(name), values) for name, values in given.items()]
    else:
        for text in [given] if isinstance(given, str) else given:
            name, equals, values = str(text).partition("=")
            if not equals or not name.strip():
                raise UserError(f"--over {quoted(text)} names no values: write train.learning_rate=0.05,0.1.")
            pairs.append((name, values))
    over: dict[str, Any] = {}
    for name, values in pairs:
        key = name.strip().replace("-", "_")
        if key in over:
            raise UserError(f"--over varies {key} twice: name all of its values at once.")
        over[key] = _values(key, values)
    return over


def _values(name: str, given: Any) -> list[Any] | str:
    """Return a list of values, or a range as text."""
    if isinstance(given, str) and _RANGE.fullmatch(given.strip()):
        axis(name, given.strip())  # checks it
        return given.strip()
    if isinstance(given, str):
        values: list[Any] = [part.strip() for part in given.split(";" if ";" in given else ",")]
    else:
        values = list(given) if isinstance(given, Sequence) else [given]
    if not values or "" in values or any(isinstance(value, list | dict) or value is None for value in values):
        raise UserError(f"--over {name} has no value, or one that is empty: write {name}=A,B.")
    if (twice := next((value for value in values if values.count(value) > 1), None)) is not None:
        raise UserError(f"--over {name} has the value {quoted(twice)} twice.")
    return values


def axis(name: str, values: Sequence[Any] | str) -> Axis:
    """Return the axis of a setting and its parsed values. Raises `UserError` for a range that is none."""
    if not isinstance(values, str):
        return Axis(name, tuple(values))
    match = _RANGE.fullmatch(values)
    assert match is not None
    low, high = float(match["low"]), float(match["high"])
    log = match["log"] is not None
    if not (-math.inf < low < high < math.inf) or (log and low <= 0):
        raise UserError(
            f"{quoted(values)} of --over {name} is not a range: write 0.01..0.3, or 0.01..0.3:log for a logarithmic "
            "scale, from a smaller to a larger number (above 0 if logarithmic)."
        )
    whole = all(re.fullmatch(r"[-+]?\d+", match[end]) for end in ("low", "high"))
    return Axis(name, (), low, high, log, whole)


@dataclass(frozen=True)
class Sweep(Section):
    """Several runs of a recipe: with different settings, seeds or folds, within one budget."""

    over: Mapping[str, Any] | None = option(
        "settings to vary, with their values, such as train.learning_rate=0.05,0.1 (separated by semicolons if they "
        "contain commas; default leaves a setting unset), or ranges for --search random and tpe: 0.01..0.3, or "
        "0.01..0.3:log; repeat the flag for several settings",
        parse=parse_over,
        repeated=True,
    )
    search: Literal["grid", "random", "tpe"] = option(
        "combinations to try: all (grid), drawn at random, or proposed from the results so far (tpe, by Optuna)",
        "grid",
    )
    trials: int | None = option(
        f"number of combinations that --search random and tpe try (default: {DEFAULT_TRIALS})", ge=1, le=100_000
    )
    halving: int | None = option(
        "successive halving: all combinations start with a small budget, and each round keeps one in N of them, with "
        "N times the budget: 3",
        ge=2,
        le=100,
    )
    against: Literal["macs", "params", "latency_ms", "seconds"] | None = option(
        "second objective, which is minimized: the result is the Pareto front of accuracy and this cost"
    )
    seeds: int = option(
        "number of runs with different seeds, --seed, --seed + 1 and so on; --time is that of all runs together",
        1,
        ge=1,
        le=1000,
    )
    folds: int | None = option(
        "number of folds of a cross-validation: as many runs, each tested on another part of the images; with --over, "
        "as many runs of each combination, which are compared on these parts",
        ge=2,
        le=1000,
    )
    jobs: int | None = option(
        "number of runs at a time, which divide the CPU cores among them (default: one for each core, at most 4; one "
        "if there is an accelerator)",
        ge=1,
        le=1024,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.search == "grid" and self.trials is not None:
            raise UserError("--search grid tries all combinations: omit --trials, or add --search random.")
        ranges = [one.name for one in self.axes if one.is_range]
        if self.search == "grid" and ranges:
            raise UserError(f"--over {ranges[0]} is a range, not a list of values: add --search random or tpe.")
        if self.jobs is not None and self.is_one_run:
            raise UserError("--jobs is the number of runs at a time, and there is one: add --seeds, --folds or --over.")
        for name in ("search", "halving", "against"):
            if not self.over and getattr(self, name) not in (None, "grid"):
                raise UserError(f"--{name} is for settings that are varied: add --over SETTING=VALUES.")
        if self.folds and self.seeds > 1:
            raise UserError("--folds is one run for each fold: omit --seeds, and choose the folds by --split-seed.")
        if self.halving and self.against:
            raise UserError("--halving keeps the most accurate runs, and --against has a second objective: omit one.")

    @property
    def axes(self) -> tuple[Axis, ...]:
        """The settings that are varied."""
        return tuple(axis(name, values) for name, values in (self.over or {}).items())

    @property
    def kind(self) -> Literal["sweep", "folds", "seeds"]:
        """What differs between the runs: settings, which are compared, or only folds or seeds."""
        return "sweep" if self.over else "folds" if self.folds else "seeds"

    @property
    def is_one_run(self) -> bool:
        """Whether nothing is varied or repeated."""
        return not self.over and self.seeds == 1 and self.folds is None
