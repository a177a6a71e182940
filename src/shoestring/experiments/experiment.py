"""The runs of an experiment: started, several at a time, until all are done or the time is."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

from shoestring.budget import DEFAULT_EPOCHS
from shoestring.config.recipe import Recipe, SweepRecipe
from shoestring.config.units import format_percent, format_seconds
from shoestring.errors import BudgetTooSmall, UserError
from shoestring.experiments.clock import Clock, waves_of
from shoestring.experiments.outcome import Outcome, failed, read_outcome
from shoestring.experiments.processes import Processes
from shoestring.experiments.record import Record
from shoestring.experiments.schedule import Schedule
from shoestring.experiments.settings import Trial, name_of, trial_recipe, with_time
from shoestring.runs.directory import RunDir
from shoestring.runs.validate import read_recipe

_POLL_SECONDS = 0.05
_MIN_RUN_SECONDS = 10.0  # of a small run, with the start of its process
_SAVE_SECONDS = 5.0  # between two records of the time spent
_REFUSED = 2  # exit code of a mistake of the user
_MARGIN = 1.01  # on the smallest budget that works, which messages round


@dataclass
class Experiment:
    """Starts the runs of a schedule, and records their outcomes in it.

    `log` is called with messages, `on_progress` with the fraction of the runs that are done. `late` is whether runs
    were left out for lack of time.
    """

    recipe: SweepRecipe
    schedule: Schedule
    clock: Clock
    record: Record
    processes: Processes
    log: Callable[[str], None]
    on_progress: Callable[[float], None]
    late: bool = False
    _running: dict[str, Trial] = field(default_factory=dict)
    _errors: list[UserError] = field(default_factory=list)
    _failed: set[int] = field(default_factory=set)  # numbers of combinations
    _saved: float = 0.0

    def run(self) -> None:
        """Run everything. Raises the error of a run if nothing is varied, or if no run succeeds."""
        try:
            while self._start():
                self._wait()
        finally:
            self._save()
        if not self._any_succeeded:
            raise self._errors[0] if self._errors else self._no_time()

    def _wait(self) -> None:
        """Wait a moment, record finished runs, and stop all when the time is over."""
        time.sleep(_POLL_SECONDS)
        for name, code in self.processes.finished().items():
            self._collect(self._running.pop(name), code)
        if self.clock.is_over and self._running:
            self.late = True
            self.processes.interrupt(self.clock.grace)
            self._running.clear()
        if time.monotonic() - self._saved > _SAVE_SECONDS:
            self._save()

    def _start(self) -> bool:
        """Start runs while there are some, and read those that are finished already; return whether any is running."""
        while not self.late and self.processes.free and (trial := self.schedule.next()) is not None:
            folder = RunDir(self.processes.folder / "trials" / trial.name)
            outcome = read_outcome(folder.path)
            if outcome is not None:
                self._finish(trial, outcome)
                continue
            recipe = read_recipe(folder) or self._recipe(trial)
            if recipe is None:
                self.late = True
                break
            self._save()
            self._running[trial.name] = trial
            self.processes.start(trial.name, recipe)
        return bool(self._running)

    def _recipe(self, trial: Trial) -> Recipe | None:
        """Return the recipe of a run with its budget; None if there is no time for it."""
        halving = self.recipe.sweep.halving or 1
        lengths = [float(halving**rung) for rung in range(trial.rung, len(self.schedule.sizes))]
        values = self.schedule.settings[trial.setting]
        recipe = trial_recipe(self.recipe, values, trial, part=self._part(trial))
        if self.recipe.time is None:
            return recipe
        if recipe.budget:  # epochs or FLOPs: the time is only a limit
            return recipe if self._expected(lengths[0]) <= self.clock.for_runs else None
        left = self.schedule.left()
        waves = waves_of([left[0] + 1, *left[1:]], jobs=self.processes.count, lengths=lengths)
        unit = min(self.clock.unit(waves), self.record.content.get("unit") or float("inf"))
        if unit <= 0:
            return None
        self.record.content.setdefault("unit", unit)
        return with_time(recipe, unit * lengths[0])

    def _part(self, trial: Trial) -> float:
        """Return the fraction of the budget in epochs or FLOPs that a run gets: all of it in the last round."""
        return float(self.recipe.sweep.halving or 1) ** (trial.rung + 1 - len(self.schedule.sizes))

    def _expected(self, length: float) -> float:
        """Return the seconds that a run of this length probably takes; 0 if none has finished yet."""
        halving, factors = self.recipe.sweep.halving or 1, list[float]()
        for name, outcome in self.schedule.outcomes.items():
            if not outcome.error:
                rung = int(name.rpartition("-round-")[2]) - 1 if "-round-" in name else 0
                factors.append(outcome.costs["seconds"] / halving**rung)
        return length * sum(factors) / len(factors) if factors else 0.0

    def _collect(self, trial: Trial, code: int) -> None:
        """Record the outcome of a run that ended with this exit code."""
        if code == 0:
            outcome = read_outcome(self.processes.folder / "trials" / trial.name)
            assert outcome is not None, "a run that ends without an error has results"
            self._finish(trial, outcome)
            return
        error = self._explained(self.processes.error(trial.name, code), self._part(trial))
        self._errors.append(error)
        self._failed.add(trial.setting)
        if not self.recipe.sweep.over or (self._is_hopeless(error, code) and not self._any_succeeded):
            raise error
        self._finish(trial, failed(error))

    def _is_hopeless(self, error: UserError, code: int) -> bool:
        """Whether the other runs would fail as well: for lack of time, or as all did so far, whatever the settings."""
        if isinstance(error, BudgetTooSmall):
            return len(self._errors) >= self.processes.count
        if code != _REFUSED or len(self._failed) < 2 or len({str(one) for one in self._errors}) > 1:
            return False
        failed = [self.schedule.settings[setting] for setting in self._failed]
        varied = [axis.name for axis in self.recipe.sweep.axes if len(axis.examples) > 1]
        return all(len({str(values[name]) for values in failed}) > 1 for name in varied)

    @property
    def _any_succeeded(self) -> bool:
        return any(not outcome.error for outcome in self.schedule.outcomes.values())

    def _no_time(self) -> BudgetTooSmall:
        """Return the error of an experiment whose time is over before a run is finished."""
        rounds = -(-self.schedule.total // self.processes.count)
        least = self.clock.elapsed + self.clock.end + self.clock.test + _MIN_RUN_SECONDS * rounds
        return BudgetTooSmall(
            f"--time {self.recipe.time} is too small for {self.schedule.total} runs, {self.processes.count} at a time: "
            f"none is finished. At least --time {least:.0f}s is needed.",
            least=least,
        )

    def _explained(self, error: UserError, part: float) -> UserError:
        """Return the error of a run, which got this part of the budget; of one with too little, by that of all runs."""
        unit, recipe = self.record.content.get("unit"), self.recipe
        if not isinstance(error, BudgetTooSmall) or (unit is None and part == 1):
            return error
        reason = error.args[0].partition(": ")[2].partition(" The least")[0]
        if unit is None:
            name, given = ("flops", recipe.flops) if recipe.flops else ("epochs", recipe.epochs or DEFAULT_EPOCHS)
            least = _MARGIN * error.least / part
            return BudgetTooSmall(
                f"--halving {recipe.sweep.halving} gives runs of this round {part * given:.3g} of {given:.3g} {name}, "
                f"which is too small: {reason} About --{name} {least:.3g} is needed.",
                least=least,
            )
        least = error.least * float(recipe.time or 0.0) / unit
        return BudgetTooSmall(
            f"--time {recipe.time} leaves {format_seconds(unit)} for each of {self.schedule.total} runs, "
            f"{self.processes.count} at a time, which is too small: {reason} About --time {least:.0f}s is needed.",
            least=least,
        )

    def _finish(self, trial: Trial, outcome: Outcome) -> None:
        self.schedule.record(trial, outcome)
        done, total = len(self.schedule.outcomes), self.schedule.total
        self.on_progress(done / total)
        values = name_of(self.schedule.settings[trial.setting])
        what = f"failed: {outcome.error}" if outcome.error else format_percent(outcome.accuracy)
        self.log(f"{done} of {total}: {trial.name}{f' ({values})' if values else ''}: {what}")

    def _save(self) -> None:
        self._saved = time.monotonic()
        self.record.save(settings=self.schedule.settings, elapsed=round(self.clock.elapsed, 3))
