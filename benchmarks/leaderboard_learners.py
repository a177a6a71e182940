"""Models trained on the subsets of the leaderboard, and the signals available to selection methods.

`Scratch` trains a small network from random weights with shoestring's default recipe, for a fixed number of samples
instead of seconds, so that machine load has no effect. Methods use the signals of shoestring's proxy, one per seed.

`Probe` fits a linear classifier to the features of a frozen network. Methods use these features, and as difficulty the
margins of a linear classifier fitted to the whole pool.
"""

from __future__ import annotations

import functools
import json
import warnings
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from frozen_features import cached, features
from planned_training import train
from shoestring import load
from shoestring.api import evaluate
from shoestring.budget import Budget
from shoestring.config.recipe import Grow, Select, Train
from shoestring.data.images import Images
from shoestring.data.loading import load_split
from shoestring.data.split import hold_out
from shoestring.errors import UserError
from shoestring.execute import pool_of
from shoestring.runtime.context import prepare
from shoestring.runtime.files import write_json
from shoestring.selection import Pool, Signals, Strategy, select_subset
from shoestring.training.dynamics import margins

SAMPLES = {100: 60_000, 500: 120_000, 1000: 120_000, 5000: 250_000}  # training samples by subset size
PROXY_EPOCHS = 6.0  # as `shoestring select` without a budget
# "auto" selects this precision on a CPU that supports it; mixup was added after most of the board had been measured.
NETWORK = Train(model="convnet", width=0.5, precision="bfloat16", mixup=0.0)
HELD_OUT = 0.2  # of the training images, for validation

C_VALUES = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)  # inverse regularization C of the linear classifier
TUNING_SEEDS = (100, 101, 102)  # seeds of the subsets for tuning C; none is used on the board
POOL_C = 10.0  # C of the classifier fitted to the pool, whose margins are the difficulty
UNSUPPORTED = ("aum", "forgetting")  # methods that need training dynamics; others raise errors themselves


class Material(NamedTuple):
    """All training images of a source, the rows of the pool, and the evaluation images."""

    name: str
    everything: Images
    rows: NDArray[np.int64]
    scored: Images

    @property
    def pool(self) -> Images:
        return self.everything[self.rows]


def material(source: str, split: str) -> Material:
    """Return the data: for "test" the pool is all training images, for "validation" all but a held-out fifth."""
    data = load(source)
    whole = load_split(source, "train", classes=data.classes, resolution=data.test.shape[0])
    # without the test images that `load` holds out of a source without a test split
    everything = whole[np.union1d(data.train.rows, data.validation.rows)]
    if split == "test":
        return Material(data.name, everything, np.arange(len(everything)), data.test)
    kept, held = held_out(everything)
    return Material(data.name, everything, kept, everything[held])


def held_out(images: Images) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return hold_out(images.targets, round(HELD_OUT * len(images)), seed=0)


class Scratch:
    """A small network trained from random weights."""

    def __init__(self, material: Material, cache: Path, samples: int | None) -> None:
        self.pool, self.scored, self.cache, self.samples = material.pool, material.scored, cache, samples

    def check(self, strategy: str) -> None:
        """Accept every method."""

    def signals(self, seed: int) -> Signals:
        """Return the signals of the proxy with this seed."""
        epochs = self.samples / len(self.pool) if self.samples else PROXY_EPOCHS
        file = self.cache / f"proxy-{self.pool.fingerprint[:8]}-{epochs:.3g}-{seed}.npz"
        if not file.exists():
            budget = Budget(epochs=epochs, steps=("select",))
            pool = pool_of(self.pool, Select(signals=str(file)), budget, prepare(seed=seed))
            assert len(pool.final_margin), "accessing the signals trains the proxy and saves them"
        return Signals.load(file, self.pool.fingerprint)

    def learn(self, indices: NDArray[np.int64], seed: int) -> dict[str, Any]:
        """Train on these images; return the accuracy and training summary."""
        subset = self.pool[indices]
        budget = Budget(epochs=(self.samples or SAMPLES[len(subset)]) / len(subset), steps=("train",))
        model, training, _ = train(subset, NETWORK, Grow(), budget=budget, context=prepare(seed=seed))
        metrics = evaluate(model, self.scored)
        return {
            "accuracy": round(metrics.accuracy, 5),
            "scored": metrics.images,
            "samples": round(training.epochs * len(subset)),
            "steps": training.steps,
            "precision": training.precision,
        }


class Probe:
    """Logistic regression on the features of a frozen network."""

    def __init__(self, material: Material, cache: Path, weights: Path) -> None:
        self.everything, self.pool, self.cache = material.everything, material.pool, cache
        self.all_features = features(material.everything, weights, cache)
        self.features = self.all_features[material.rows]
        self.labels, self.scored_labels = self.pool.targets, material.scored.targets
        self.scored_features = features(material.scored, weights, cache)

    def check(self, strategy: str) -> None:
        """Refuse methods that need training dynamics."""
        if strategy in UNSUPPORTED:
            raise UserError("this method needs training dynamics, and no network is trained in this setting.")

    @functools.cache  # noqa: B019 (one probe per process)
    def signals(self, seed: int) -> Signals:
        """Return the features, and the margins of the classifier fitted to the pool: the same for every seed."""
        file = self.cache / f"probe-{self.pool.fingerprint[:8]}-{POOL_C:g}.npy"
        logits = cached(file, lambda: fit(self.features, self.labels, POOL_C).decision_function(self.features))
        margin = margins(logits, self.labels)
        zeros = np.zeros(len(margin), dtype=np.int64)
        return Signals(self.features, zeros, zeros == 0, margin, margin)

    def learn(self, indices: NDArray[np.int64], seed: int) -> dict[str, Any]:
        """Fit the classifier to these images; return its accuracy."""
        strength, scores_by_c = self.strength(len(indices))
        model = fit(self.features[indices], self.labels[indices], strength)
        accuracy = float(model.score(self.scored_features, self.scored_labels))
        return {
            "accuracy": round(accuracy, 5),
            "scored": len(self.scored_labels),
            "c": strength,
            "c_tried": scores_by_c,
        }

    def strength(self, examples: int) -> tuple[float, dict[str, float]]:
        """Return C for this subset size, tuned on validation images with random subsets, for all methods."""
        file = self.cache / f"strength-{self.everything.fingerprint[:8]}-{examples}.json"
        if not file.exists():
            write_json(file, self._tune(examples))
        scores_by_c = json.loads(file.read_text())
        return float(max(scores_by_c, key=scores_by_c.__getitem__)), scores_by_c

    def _tune(self, examples: int) -> dict[str, float]:
        """Return mean accuracy by C on the held-out fifth of the training images, over random subsets of the rest."""
        kept, held = held_out(self.everything)
        labels, pool = self.everything.targets, Pool(self.everything[kept], lambda: self.signals(0))
        accuracies: dict[str, float] = {}
        for strength in C_VALUES:
            scores = []
            for seed in TUNING_SEEDS:
                rows = kept[select_subset(pool, examples, Strategy("random"), seed=seed).indices]
                model = fit(self.all_features[rows], labels[rows], strength)
                scores.append(model.score(self.all_features[held], labels[held]))
            accuracies[f"{strength:g}"] = round(float(np.mean(scores)), 4)
        return accuracies


def fit(features: NDArray[np.float32], labels: NDArray[np.int64], strength: float) -> Any:
    """Fit logistic regression with the inverse regularization C."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # accuracy hardly changes before convergence
        return LogisticRegression(C=strength, max_iter=1000).fit(features, labels)
