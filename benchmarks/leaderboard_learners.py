"""What learns from the chosen images of the leaderboard, and what the choice may know about all of them.

`Scratch` trains a small network from random weights with shoestring's own recipe, for a number of samples and not of
seconds, so that the load of the machine decides nothing. Methods see what shoestring's proxy tells, one for each seed.

`Probe` fits a linear classifier to the features of a frozen network. Methods see these features, and as difficulty the
margins of a linear classifier that was fitted to all images to choose from.
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
from shoestring.planning.proxy import pool_of
from shoestring.runtime.context import prepare
from shoestring.runtime.files import write_json
from shoestring.selection import Pool, Signals, Strategy, select_subset
from shoestring.training.dynamics import margins

SEEN = {100: 60_000, 500: 120_000, 1000: 120_000, 5000: 250_000}  # samples of a training by images chosen
PROXY_EPOCHS = 6.0  # as `shoestring select` without a budget
# The precision is that which "auto" takes on a CPU that has it; mixup came when most of the board had been measured.
NETWORK = Train(model="convnet", width=0.5, precision="bfloat16", mixup=0.0)
HELD_OUT = 0.2  # of the training images, for validation

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)  # inverse regularisation C of the linear classifier
TRIED = (100, 101, 102)  # seeds of the choices that C is tried on; none of the board's
OF_ALL = 10.0  # C of the classifier fitted to all images, whose margins are the difficulty
UNKNOWN = ("aum", "forgetting")  # methods that ask how a training went; others that do refuse by themselves


class Material(NamedTuple):
    """All training images of a source, the rows among them to choose from, and the images scored on."""

    name: str
    everything: Images
    rows: NDArray[np.int64]
    scored: Images

    @property
    def pool(self) -> Images:
        return self.everything[self.rows]


def material(source: str, split: str) -> Material:
    """For "test" all training images are there to choose from, for "validation" all but the fifth to score on."""
    data = load(source)
    whole = load_split(source, "train", classes=data.classes, resolution=data.test.shape[0])
    # not the test images that `load` holds out of a source without a test split
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
        """Every method can be asked."""

    def signals(self, seed: int) -> Signals:
        """What the proxy of this seed tells about the images to choose from."""
        epochs = self.samples / len(self.pool) if self.samples else PROXY_EPOCHS
        file = self.cache / f"proxy-{self.pool.fingerprint[:8]}-{epochs:.3g}-{seed}.npz"
        if not file.exists():
            budget = Budget(epochs=epochs, steps=("select",))
            pool = pool_of(self.pool, Select(signals=str(file)), budget, prepare(seed=seed))
            assert len(pool.final_margin), "to ask for it trains the proxy, which is kept in the file"
        return Signals.load(file, self.pool.fingerprint)

    def learn(self, indices: NDArray[np.int64], seed: int) -> dict[str, Any]:
        """Accuracy after training on these images, and how it was trained."""
        chosen = self.pool[indices]
        budget = Budget(epochs=(self.samples or SEEN[len(chosen)]) / len(chosen), steps=("train",))
        model, training = train(chosen, NETWORK, Grow(), budget=budget, context=prepare(seed=seed))
        metrics = evaluate(model, self.scored)
        return {
            "accuracy": round(metrics.accuracy, 5),
            "scored": metrics.images,
            "samples": round(training.epochs * len(chosen)),
            "steps": training.steps,
            "precision": training.precision,
        }


class Probe:
    """Logistic regression on the features of a frozen network."""

    def __init__(self, material: Material, cache: Path, weights: Path) -> None:
        self.everything, self.pool, self.cache = material.everything, material.pool, cache
        self.of_everything = features(material.everything, weights, cache)
        self.known = self.of_everything[material.rows]
        self.labels, self.truth = self.pool.targets, material.scored.targets
        self.seen = features(material.scored, weights, cache)

    def check(self, strategy: str) -> None:
        """Refuse methods that ask for a training."""
        if strategy in UNKNOWN:
            raise UserError("this method looks at how a training went, and nothing is trained here.")

    @functools.cache  # noqa: B019 (one probe a process)
    def signals(self, seed: int) -> Signals:
        """Features, and margins of the classifier of all images: the same for every seed."""
        file = self.cache / f"probe-{self.pool.fingerprint[:8]}-{OF_ALL:g}.npy"
        logits = cached(file, lambda: fit(self.known, self.labels, OF_ALL).decision_function(self.known))
        margin = margins(logits, self.labels)
        nothing = np.zeros(len(margin), dtype=np.int64)
        return Signals(self.known, nothing, nothing == 0, margin, margin)

    def learn(self, indices: NDArray[np.int64], seed: int) -> dict[str, Any]:
        """Accuracy of the classifier of these images."""
        strength, tried = self.strength(len(indices))
        model = fit(self.known[indices], self.labels[indices], strength)
        accuracy = float(model.score(self.seen, self.truth))
        return {"accuracy": round(accuracy, 5), "scored": len(self.truth), "c": strength, "c_tried": tried}

    def strength(self, examples: int) -> tuple[float, dict[str, float]]:
        """C for so many images: the one that is best for random ones on the validation images; for all methods."""
        file = self.cache / f"strength-{self.everything.fingerprint[:8]}-{examples}.json"
        if not file.exists():
            write_json(file, self._tried(examples))
        tried = json.loads(file.read_text())
        return float(max(tried, key=tried.__getitem__)), tried

    def _tried(self, examples: int) -> dict[str, float]:
        """C -> mean accuracy on the held-out fifth of the training images over a few random choices of the rest."""
        kept, held = held_out(self.everything)
        labels, pool = self.everything.targets, Pool(self.everything[kept], lambda: self.signals(0))
        found: dict[str, float] = {}
        for strength in STRENGTHS:
            scores = []
            for seed in TRIED:
                rows = kept[select_subset(pool, examples, Strategy("random"), seed=seed).indices]
                model = fit(self.of_everything[rows], labels[rows], strength)
                scores.append(model.score(self.of_everything[held], labels[held]))
            found[f"{strength:g}"] = round(float(np.mean(scores)), 4)
        return found


def fit(seen: NDArray[np.float32], labels: NDArray[np.int64], strength: float) -> Any:
    """Logistic regression with the inverse regularisation C."""
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # far from it, little changes the accuracy any more
        return LogisticRegression(C=strength, max_iter=1000).fit(seen, labels)
