"""The same with scikit-learn's manners: `Classifier(time="5m", examples=1000).fit(X, y).score(X, y)`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, check_is_fitted

from shoestring import context, steps
from shoestring.budget import Budget
from shoestring.data import in_memory
from shoestring.errors import UserError
from shoestring.models.inference import log_probabilities
from shoestring.recipe import Grow, Prune, Select, Train
from shoestring.select import Subset


class Classifier(ClassifierMixin, BaseEstimator):
    """Chooses images, trains inside the budget and cuts to size, in one `fit`.

    One of `time` ("5m" or seconds), `epochs` or `flops` is the budget of the whole fit. After it, `classes_` are the
    labels, `model_` the `Model`, `subset_` the chosen `Subset` or None, `ledger_` seconds by step, `n_features_in_`
    the values of an image.
    """

    def __init__(
        self,
        time: str | float | None = None,
        *,
        epochs: float | None = None,
        flops: str | float | None = None,
        examples: int | None = None,
        select: str = "auto",
        model: str = "auto",
        grow: str = "auto",
        prune: str = "magnitude",
        macs: str | float | None = None,
        params: str | float | None = None,
        mirrored: bool = True,
        device: str = "auto",
        seed: int = 0,
    ) -> None:
        self.time = time
        self.epochs = epochs
        self.flops = flops
        self.examples = examples
        self.select = select
        self.model = model
        self.grow = grow
        self.prune = prune
        self.macs = macs
        self.params = params
        self.mirrored = mirrored
        self.device = device
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike) -> Classifier:
        """Train on images X, (N, H, W) or (N, H, W, C), uint8 or floats from 0 to 1, with labels y (N,) of any kind."""
        check_consistent_length(X, y)
        check_classification_targets(y)
        wanted = Prune(self.prune, _text(self.macs), _text(self.params))
        budget = self._budget(wanted)
        around = context.prepare(device=self.device, seed=self.seed)
        self.classes_, codes = np.unique(np.asarray(y), return_inverse=True)
        if len(self.classes_) < 2:
            raise UserError(f"all labels are {self.classes_[0]}: a classifier needs two classes or more.")
        names = [str(name) for name in self.classes_]
        images = in_memory(X, codes.astype(np.int64), classes=names, mirrored=self.mirrored)
        self.n_features_in_ = int(np.prod(images.shape))
        self.subset_: Subset | None = None
        if self.examples is not None:
            with budget.paying("select"):
                self.subset_ = steps.run_select(
                    images, Select(self.select, self.examples), budget=budget, context=around
                )
            images = images[self.subset_]
        with budget.paying("train"):
            settings = Train(model=self.model)
            self.model_, _ = steps.run_train(
                images, settings, Grow(self.grow), budget=budget, context=around, later=wanted
            )
        if wanted.wanted:
            with budget.paying("prune"):
                self.model_, _ = steps.run_prune(self.model_, images, wanted, settings, budget=budget, context=around)
        self.ledger_ = dict(budget.ledger)
        return self

    def predict_proba(self, X: ArrayLike) -> NDArray[np.float32]:
        """Probabilities (N, classes) of images, in the order of `classes_`."""
        check_is_fitted(self, "model_")
        size = self.model_.preprocessing.resolution
        images = in_memory(X, None, classes=self.model_.classes, resolution=size)
        return np.exp(log_probabilities(self.model_, images))

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The likeliest label (N,) of each image."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(1)]

    def save(self, folder: str | Path) -> None:
        """Write the model as `shoestring predict` reads it."""
        check_is_fitted(self, "model_")
        self.model_.save(Path(folder))

    def _budget(self, wanted: Prune) -> Budget:
        steps_here = {"select": self.examples is not None, "train": True, "prune": wanted.wanted}
        return Budget(
            self.time,
            epochs=self.epochs,
            flops=self.flops,
            steps=[name for name, here in steps_here.items() if here],
        )


def _text(value: str | float | None) -> str | None:
    return None if value is None else str(value)
