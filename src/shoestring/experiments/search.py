"""Which combinations of settings are tried: a grid, random ones, or those that Optuna proposes."""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any, Protocol

from shoestring.config.recipe import SweepRecipe
from shoestring.config.sweep import DEFAULT_TRIALS, Axis
from shoestring.experiments.settings import grid
from shoestring.runtime.extras import require

_MAX_PROPOSALS = 50  # for one combination: if all are known, there is probably no other one


class Search(Protocol):
    """Proposes `count` combinations, one after the other."""

    count: int

    def propose(self, index: int, known: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any] | None:
        """Return the combination of this number, which is none of the `known` ones; None if no other one is found."""
        ...

    def tell(self, index: int, values: Mapping[str, Any], scores: Sequence[float]) -> None:
        """Report the accuracy of a combination, and its cost if there is a second objective."""


def make_search(recipe: SweepRecipe) -> Search:
    """Return the search of a recipe. Raises `UserError` if a package that it needs is missing."""
    sweep, trials = recipe.sweep, recipe.sweep.trials or DEFAULT_TRIALS
    if sweep.search == "tpe":
        return Tpe(sweep.axes, trials, seed=recipe.seed, objectives=2 if sweep.against else 1)
    if sweep.search == "random":
        return Listed(_draws(recipe, trials))
    return Listed(list(grid(recipe)))


class Listed:
    """Combinations that do not depend on results."""

    def __init__(self, combinations: Sequence[dict[str, Any]]) -> None:
        self._combinations, self.count = combinations, len(combinations)

    def propose(self, index: int, known: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any]:
        """Return the combination of this number; all are different."""
        return self._combinations[index]

    def tell(self, index: int, values: Mapping[str, Any], scores: Sequence[float]) -> None:
        """Do nothing."""


def _draws(recipe: SweepRecipe, count: int) -> list[dict[str, Any]]:
    """Draw combinations at random, without duplicates; all of them, in random order, if there are no more."""
    rng, axes = random.Random(recipe.seed), recipe.sweep.axes
    if not any(axis.is_range for axis in axes):
        size = math.prod(len(axis.values) for axis in axes)
        if size <= 100_000:
            chosen = rng.sample(range(size), min(count, size))
            listed = {number: values for number, values in enumerate(islice(grid(recipe), size)) if number in chosen}
            return [listed[number] for number in chosen]
    drawn: dict[str, dict[str, Any]] = {}
    for _ in range(100 * count):
        values = {axis.name: _draw(axis, rng) for axis in axes}
        drawn.setdefault(str(values), values)
        if len(drawn) == count:
            break
    return list(drawn.values())


def _draw(axis: Axis, rng: random.Random) -> Any:
    if not axis.is_range:
        return rng.choice(axis.values)
    if axis.log:
        return axis.number(math.exp(rng.uniform(math.log(axis.low), math.log(axis.high))))
    return (
        rng.randint(round(axis.low), round(axis.high)) if axis.whole else axis.number(rng.uniform(axis.low, axis.high))
    )


class Tpe:
    """Proposals of the tree-structured Parzen estimator (Bergstra et al. 2011), by Optuna."""

    def __init__(self, axes: Sequence[Axis], count: int, *, seed: int, objectives: int) -> None:
        self.count, self._axes = count, axes
        optuna: Any = require("optuna", what="--search tpe", extra="sweep")
        self._optuna = optuna
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # some options are called experimental
            sampler = optuna.samplers.TPESampler(
                seed=seed % 2**32, constant_liar=True, n_startup_trials=max(3, min(10, count // 3))
            )
        self._study = optuna.create_study(sampler=sampler, directions=["maximize", "minimize"][:objectives])
        self._distributions = {axis.name: self._distribution(axis) for axis in axes}
        self._asked: dict[int, Any] = {}

    def _distribution(self, axis: Axis) -> Any:
        kinds = self._optuna.distributions
        if not axis.is_range:
            return kinds.CategoricalDistribution([str(value) for value in axis.values])
        if axis.whole:
            return kinds.IntDistribution(round(axis.low), round(axis.high), log=axis.log)
        return kinds.FloatDistribution(axis.low, axis.high, log=axis.log)

    def propose(self, index: int, known: Sequence[Mapping[str, Any]] = ()) -> dict[str, Any] | None:
        """Return the combination that the results so far suggest, without those that are known; None if all are."""
        found, refused = None, []
        for _ in range(_MAX_PROPOSALS):
            trial = self._study.ask(self._distributions)
            values = self._values(trial)
            if values not in known:
                found, self._asked[index] = values, trial
                break
            refused.append(trial)  # while it is pending, the sampler prefers others
        for trial in refused:
            self._study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
        return found

    def _values(self, trial: Any) -> dict[str, Any]:
        return {
            axis.name: axis.number(trial.params[axis.name])
            if axis.is_range
            else next(value for value in axis.values if str(value) == trial.params[axis.name])
            for axis in self._axes
        }

    def tell(self, index: int, values: Mapping[str, Any], scores: Sequence[float]) -> None:
        """Report the results of a combination, also of one that an interrupted experiment has proposed."""
        if index in self._asked:
            self._study.tell(self._asked.pop(index), list(scores))
            return
        params = {axis.name: values[axis.name] if axis.is_range else str(values[axis.name]) for axis in self._axes}
        self._study.add_trial(
            self._optuna.trial.create_trial(params=params, distributions=self._distributions, values=list(scores))
        )
