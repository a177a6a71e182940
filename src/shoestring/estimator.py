"""The same with scikit-learn's interface: `Classifier(time="5m", examples=1000).fit(X, y).score(X, y)`."""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import _safe_indexing, check_random_state
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted

from shoestring import execute
from shoestring.budget import DEFAULT_EPOCHS, Budget
from shoestring.config.recipe import Prune, Train
from shoestring.config.resolve import CALL, resolve
from shoestring.data import Images
from shoestring.data.labels import encode, encode_as, label_array, weight_array
from shoestring.data.split import MAX_VALIDATION, hold_out
from shoestring.data.user_images import as_images, count_images
from shoestring.errors import UserError
from shoestring.planning.plan import Planner, stretch_of
from shoestring.planning.profiling import Profiler
from shoestring.planning.selection_method import with_method
from shoestring.planning.tta import with_tta
from shoestring.runtime import context, threads
from shoestring.selection import Subset

_LARGEST_SEED = 2**31 - 1


class Classifier(ClassifierMixin, BaseEstimator):
    """Selects images, trains inside the budget and prunes to size, in one `fit`, as `shoestring run` does.

    One of `time` ("5m" or seconds), `epochs` or `flops` is the budget of the whole fit (10 epochs, when none is given).
    `validation_fraction` of the images (at most 2,500, drawn by `split_seed`) are held out of training to fit the
    temperature of the probabilities, and for `patience`; with None all are trained on, and the temperature stays 1.
    `class_weight` is None, "balanced" or a mapping of labels to weights. `random_state` seeds everything else; with
    None every fit is another. `resolution` is the side that images are resized to (their own up to 64 pixels, when
    None), and `mirrored` says whether a mirrored image keeps its class. The parameters from `width` on are those of
    `shoestring train` (see `shoestring.config.recipe.Train`).

    After `fit`, `classes_` are the labels, `model_` the `Model`, `subset_` the selected `Subset` or None, `ledger_`
    seconds by step, `n_features_in_` the values of an image.
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
        stages: str | None = None,
        prune: str = "magnitude",
        macs: str | float | None = None,
        params: str | float | None = None,
        resolution: int | None = None,
        mirrored: bool = True,
        validation_fraction: float | None = 0.1,
        split_seed: int = 0,
        class_weight: str | dict[Any, float] | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = 0,
        width: float | None = None,
        norm: bool | None = None,
        dropout: float | None = None,
        shortcut: str | None = None,
        weights: str | None = None,
        optimizer: str = "auto",
        schedule: str = "deadline",
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        batch_size: int | None = None,
        label_smoothing: float = 0.2,
        flip: bool | None = None,
        shift: float | None = None,
        cutout: float | None = None,
        jitter: float | None = None,
        mixup: float | None = None,
        rotate: float = 0.0,
        zoom: float = 0.0,
        strength: str = "1",
        ema: bool = True,
        tta: str = "auto",
        precision: str = "auto",
        patience: int | None = None,
    ) -> None:
        given = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        for name, value in given.items():
            setattr(self, name, value)

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        validation_data: tuple[Any, ArrayLike] | None = None,
    ) -> Classifier:
        """Train on images X with labels y (N,) of any kind.

        X is an array (N, H, W) or (N, H, W, C), uint8 or floats from 0 to 1, or a list, series or data frame of N paths
        or Pillow images. `sample_weight` (N,) says how much each image counts in the loss; images of weight 0 are left
        out. With `validation_data`, images and their labels, nothing is held out of X. Raises `UserError` (a
        `ValueError`) for images, labels and parameters that cannot be, `BudgetTooSmall` for a budget that is.
        """
        wanted = self.get_params(deep=False)
        settings = self._settings(wanted)
        budget = self._budget(wanted, settings.prune)
        X, y, loss_weights = _weighted(X, y, sample_weight, wanted["class_weight"])
        self.classes_, codes = encode(y)
        images = as_images(
            X,
            codes,
            classes=[str(name) for name in self.classes_],
            resolution=wanted["resolution"],
            mirrored=wanted["mirrored"],
        )
        self.n_features_in_ = int(np.prod(images.shape))
        images = images.weighted(loss_weights)
        if validation_data is None:
            images, validation = _held_out(images, wanted["validation_fraction"], wanted["split_seed"])
        elif not isinstance(validation_data, tuple | list) or len(validation_data) != 2:
            raise UserError("validation_data must be a pair of images and their labels: (X, y).")
        else:
            validation = self._validation(*validation_data, like=images)
        around = context.prepare(device=wanted["device"], seed=_seed(wanted["random_state"]))
        with threads.restore_threads():
            self._run(images, validation, settings, budget, around)
        self.ledger_ = dict(budget.ledger)
        return self

    def _run(self, images: Images, validation: Images | None, settings: Any, budget: Budget, around: Any) -> None:
        """Select, train, prune and calibrate."""
        profiler, evaluated = Profiler(budget, around), 0 if validation is None else len(validation)
        train = with_tta(settings.train, images, evaluated=evaluated, profiler=profiler)
        execute.reserve_calibration(budget, train, images, validation)
        self.subset_: Subset | None = None
        if settings.select.examples is not None:
            with budget.track("select"):
                plain = images.weighted(None)
                chosen = with_method(settings.select, plain, pretrained=train.weights is not None)
                self.subset_ = execute.select(plain, chosen, budget=budget, context=around)
                images = images[self.subset_.indices_for(plain)]
        with budget.track("train"):
            planner = Planner(train, settings.grow, profiler, around, later=settings.prune)
            stretch = stretch_of(budget, "train", count=len(images), later=settings.prune)
            planned = planner(images, stretch)
            model, _, _ = execute.train(images, planner, planned, budget=budget, validation=validation)
        if settings.prune.enabled:
            with budget.track("prune"):
                model, _ = execute.prune(model, images, settings.prune, train, budget=budget, context=around)
        self.model_ = execute.calibrated(model, validation, budget)

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Probabilities (N, classes) of images, in the order of `classes_`."""
        check_is_fitted(self, "model_")
        return self.model_.predict_proba(X)

    def predict(self, X: Any) -> NDArray[Any]:
        """The likeliest label (N,) of each image."""
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(1)]

    def save(self, folder: str | Path) -> None:
        """Write the model as `shoestring predict` and `Model.load` read it."""
        check_is_fitted(self, "model_")
        self.model_.save(folder)

    def _validation(self, X: Any, y: Any, *, like: Images) -> Images:
        """Convert validation data to `Images` of the same size and classes as the training images."""
        side, _, channels = like.shape
        codes = encode_as(label_array(y, count_images(X)), self.classes_)
        return as_images(X, codes, classes=like.classes, resolution=side, channels=channels)

    @staticmethod
    def _settings(wanted: dict[str, Any]) -> Any:
        """The parameters as a recipe, which checks them."""
        train = {field.name: wanted[field.name] for field in fields(Train)}
        sections = {
            "select": {"method": wanted["select"], "examples": wanted["examples"]},
            "train": train,
            "grow": {"method": wanted["grow"], "stages": wanted["stages"]},
            "prune": {"method": wanted["prune"], "macs": wanted["macs"], "params": wanted["params"]},
        }
        given = {name: {key: v for key, v in part.items() if v is not None} for name, part in sections.items()}
        return resolve((CALL, given))[0]

    @staticmethod
    def _budget(wanted: dict[str, Any], prune: Prune) -> Budget:
        here = {"select": wanted["examples"] is not None, "train": True, "prune": prune.enabled}
        given = {name: wanted[name] for name in ("time", "epochs", "flops") if wanted[name] is not None}
        if len(given) > 1:
            raise UserError(f"give one budget, not {' and '.join(given)}.")
        return Budget(
            **(given or {"epochs": DEFAULT_EPOCHS}), steps=[name for name, wanted_here in here.items() if wanted_here]
        )

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.one_d_array = True  # of paths or images
        tags.input_tags.string = True
        tags.non_deterministic = self.get_params(deep=False)["time"] is not None
        return tags

    def _more_tags(self) -> dict[str, Any]:
        """What `__sklearn_tags__` says, for scikit-learn before 1.6."""
        timed = self.get_params(deep=False)["time"] is not None
        return {"X_types": ["3darray", "string"], "non_deterministic": timed}

    def __getstate__(self) -> dict[str, Any]:
        """The state to pickle, with the network on the processor, so that any machine can load it."""
        state = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = replace(state["model_"], module=copy.deepcopy(state["model_"].module).cpu())
        return state


def _seed(random_state: Any) -> int:
    if isinstance(random_state, int | np.integer) and random_state >= 0:
        return int(random_state)
    return int(check_random_state(random_state).randint(_LARGEST_SEED))


def _weighted(X: Any, y: Any, sample_weight: Any, class_weight: Any) -> tuple[Any, NDArray[Any], Any]:
    """Images, labels and their weights in the loss, of mean 1, or None; images of weight 0 are left out."""
    count = count_images(X)
    y = label_array(y, count)
    if sample_weight is None and class_weight is None:
        return X, y, None
    weights = weight_array(sample_weight, count)
    if class_weight is not None:
        weights = weights * weight_array(compute_sample_weight(class_weight, y), count, what="class_weight")
    kept = np.flatnonzero(weights > 0)
    if lost := sorted(set(y.tolist()) - set(y[kept].tolist()), key=str):
        raise UserError(
            f"all images of the class {lost[0]!r} have a weight of 0: leave them out of X, or give them one."
        )
    if len(kept) < count:
        X, y, weights = _safe_indexing(X, kept), y[kept], weights[kept]
    return X, y, (weights / weights.mean()).astype(np.float32)


def _held_out(images: Images, fraction: float | None, seed: int) -> tuple[Images, Images | None]:
    """Images to train on and to validate on, as `load` divides them; a class with one image keeps it."""
    if fraction is None:
        return images, None
    if not 0 < fraction < 1:
        raise UserError(f"validation_fraction must be above 0 and below 1, or None, not {fraction}.")
    free = np.flatnonzero(images.counts()[images.targets] > 1)
    if not len(free):
        return images, None
    size = min(round(fraction * len(images)), MAX_VALIDATION)
    held = free[hold_out(images.targets[free], size, seed=seed)[1]]
    return images[np.setdiff1d(np.arange(len(images)), held)], images[held]
