"""Which run is next: all seeds or folds of a combination, the next combination, or the next round of halving."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from shoestring.config.fold import Fold
from shoestring.config.recipe import SweepRecipe
from shoestring.experiments.clock import rounds
from shoestring.experiments.outcome import Outcome
from shoestring.experiments.search import Search
from shoestring.experiments.settings import Trial


class Schedule:
    """The runs of an experiment, in order.

    `settings` are the combinations proposed so far, first those of an interrupted experiment. `outcomes` are the
    results of finished runs, by name. `log` is called with messages.
    """

    def __init__(
        self,
        recipe: SweepRecipe,
        search: Search,
        settings: Sequence[Mapping[str, Any]] = (),
        log: Callable[[str], None] = lambda text: None,
    ) -> None:
        self.sweep, self.search, self._log = recipe.sweep, search, log
        self.known = [dict(values) for values in settings]
        self.settings: list[dict[str, Any]] = []
        self.outcomes: dict[str, Outcome] = {}
        self.sizes = rounds(search.count, self.sweep.halving)
        self._rung, self._alive = 0, list[int]()
        self._queue: deque[Trial] = deque()
        self._told: set[int] = set()

    @property
    def repeats(self) -> int:
        """Number of runs of each combination."""
        return self.sweep.folds or self.sweep.seeds

    @property
    def total(self) -> int:
        """Number of runs in all."""
        return self.repeats * sum(self.sizes)

    def trials_of(self, setting: int, rung: int = 0) -> list[Trial]:
        """Return the runs of a combination in a round."""
        if self.sweep.folds:
            return [Trial(setting, rung, fold=Fold(number, self.sweep.folds)) for number in range(1, self.repeats + 1)]
        return [Trial(setting, rung, seed) for seed in range(self.repeats)]

    def next(self) -> Trial | None:
        """Return the run to start, or None if there is none now: all are started, or a round is not finished."""
        if not self._queue:
            self._refill()
        return self._queue.popleft() if self._queue else None

    def left(self) -> list[int]:
        """Return the numbers of runs that are still to be started, in this round and in all later ones."""
        size = self.sizes[self._rung]
        begun = len(self._alive) if self._rung else len(self.settings)
        return [
            self.repeats * (size - begun) + len(self._queue),
            *(self.repeats * n for n in self.sizes[self._rung + 1 :]),
        ]

    def record(self, trial: Trial, outcome: Outcome) -> None:
        """Record the result of a run, and tell the search if its combination is complete."""
        self.outcomes[trial.name] = outcome
        own = [self.outcomes.get(one.name) for one in self.trials_of(trial.setting)]
        if trial.rung or trial.setting in self._told or not all(one and one.accuracy is not None for one in own):
            return
        self._told.add(trial.setting)
        done = [one for one in own if one is not None]
        scores = [sum(one.accuracy or 0.0 for one in done) / len(done)]
        if self.sweep.against:
            scores.append(sum(one.costs[self.sweep.against] for one in done) / len(done))
        self.search.tell(trial.setting, self.settings[trial.setting], scores)

    def score(self, setting: int, rung: int) -> float | None:
        """Return the mean accuracy of a combination in a round; None unless all of its runs have one."""
        own = [self.outcomes.get(trial.name) for trial in self.trials_of(setting, rung)]
        values = [one.accuracy for one in own if one is not None and one.accuracy is not None]
        return sum(values) / len(values) if len(values) == len(own) else None

    def _propose(self) -> bool:
        """Add the runs of the next combination; return False, and end the search, if there is none."""
        index = len(self.settings)
        if index == self.sizes[0]:
            return False
        values = self.known[index] if index < len(self.known) else self.search.propose(index, self.settings)
        if values is None:
            self._log(f"the search ends after {index} of {self.sizes[0]} combinations: it proposes no other ones")
            self.sizes = rounds(index, self.sweep.halving)
            return False
        self.settings.append(values)
        self._queue += self.trials_of(index)
        return True

    def _refill(self) -> None:
        if self._rung == 0 and self._propose():
            return
        competing = self._alive if self._rung else list(range(len(self.settings)))
        runs = [trial for setting in competing for trial in self.trials_of(setting, self._rung)]
        if self._rung + 1 == len(self.sizes) or not all(trial.name in self.outcomes for trial in runs):
            return
        scores = {setting: self.score(setting, self._rung) for setting in competing}
        ranked = sorted((one for one in competing if scores[one] is not None), key=lambda one: -(scores[one] or 0.0))
        self._rung += 1
        self._alive = ranked[: self.sizes[self._rung]]
        self._queue += [trial for setting in self._alive for trial in self.trials_of(setting, self._rung)]
