"""The estimator with scikit-learn's interface: `Classifier(time="5m", examples=1000).fit(X, y).score(X, y)`."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from shoestring import execute
from shoestring.budget import Budget
from shoestring.config.fit import DEFAULT_FIT, Fit
from shoestring.config.recipe import Recipe
from shoestring.config.unlabeled import check_unlabeled
from shoestring.data import Dataset, Images
from shoestring.data.split import hold_out_validation
from shoestring.data.targets import Targets, codes_like, make_targets
from shoestring.data.user_images import as_images, count_images, images_like
from shoestring.errors import UserError
from shoestring.planning.parameters import budget_of, recipe_of
from shoestring.planning.pretrained import stored_resolution
from shoestring.planning.resolve import resolve
from shoestring.runtime import threads
from shoestring.runtime.context import Context, prepare
from shoestring.selection import Subset
from shoestring.selection.select import check_size

_MAX_SEED = 2**31 - 1


class Classifier(ClassifierMixin, BaseEstimator):
    """Select images, train within the budget and prune to size in one `fit`, as `shoestring run` does.

    One of `time` ("5m" or seconds), `epochs` and `flops` is the budget of the whole fit (default: 10 epochs). A
    `validation_fraction` of the images (at most 2,500, drawn by `split_seed`) is held out of training to fit the
    temperature of the probabilities, and for early stopping (`patience`); None trains on all images, with temperature
    1. `class_weight` is None, "balanced" or a mapping from labels to weights. `random_state` seeds everything except
    the held-out split; with None every fit is different. Images are resized to the side `resolution` (None: their own,
    at most 160 pixels for a pretrained network and 64 for others); `image_fit` is the recipe's `fit`. Set
    `mirrored=False` if flipping can change the class. The parameters from `width` on are those of `shoestring train`.

    With several labels per image, y is 0 or 1 for each of them (N, L), and so are predictions; the weight of a label is
    that of images that have it. After `fit`, `classes_` holds the labels, `model_` the `Model`, `subset_` the selected
    `Subset` or None, `unlabeled_` how images without labels were used or None, `ledger_` the seconds by step, and
    `n_features_in_` the number of values per image.
    """

    def __init__(  # noqa: PLR0913 (scikit-learn: one keyword per parameter)
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
        prune: str = "auto",
        macs: str | float | None = None,
        params: str | float | None = None,
        file_size: str | float | None = None,
        latency: str | float | None = None,
        keep_channels: float | str | dict[str, float] | None = None,
        prune_scope: str = "auto",
        compensate: bool = True,
        distil: bool = False,
        resolution: int | None = None,
        image_fit: Fit = DEFAULT_FIT,
        mirrored: bool = True,
        validation_fraction: float | None = 0.1,
        split_seed: int = 0,
        class_weight: str | dict[Any, float] | None = None,
        device: str = "auto",
        random_state: int | np.random.RandomState | None = 0,
        width: float | None = None,
        norm: bool | None = None,
        dropout: float | None = None,
        head: str | None = None,
        shortcut: str | None = None,
        weights: str | None = None,
        download: bool = False,
        tune: str = "auto",
        frozen_views: int | None = None,
        optimizer: str = "auto",
        schedule: str = "deadline",
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        batch_size: int | None = None,
        use_unlabeled: bool = False,
        unlabeled_confidence: float | None = None,
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
        parameters = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        for name, value in parameters.items():
            setattr(self, name, value)

    def fit(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        groups: ArrayLike | None = None,
        validation_data: tuple[Any, ArrayLike] | None = None,
        unlabeled: Any = None,
    ) -> Classifier:
        """Train on images X with labels y (N,) of any type, or 0 or 1 for each of several labels (N, L).

        X is an array (N, H, W) or (N, H, W, C), uint8 or floats from 0 to 1, or a list, series or data frame of N paths
        or Pillow images. `sample_weight` (N,) weights the images in the loss; images of weight 0 are excluded. Images
        with the same value in `groups` (N,), such as those of one patient, are held out together or not at all. With
        `validation_data`, images and their labels, nothing is held out of X. Images in `unlabeled`, which is like X,
        are trained on with predicted labels, and with `use_unlabeled` so are those of X that are not selected. Raises
        `UserError` (a `ValueError`) for invalid images, labels and parameters, and `BudgetTooSmall`.
        """
        parameters = self.get_params(deep=False)
        settings = recipe_of(parameters | ({} if unlabeled is None else {"use_unlabeled": True}))
        budget = budget_of(parameters, settings.steps)
        if groups is not None and validation_data is not None:
            raise UserError("groups divide images into training and validation: omit them, or validation_data.")
        targets = make_targets(X, y, sample_weight, parameters["class_weight"], groups)
        self.classes_ = targets.classes
        images = as_images(
            targets.X,
            targets.codes,
            classes=[str(name) for name in self.classes_],
            resolution=parameters["resolution"] or stored_resolution(settings),
            fit=parameters["image_fit"],
            mirrored=parameters["mirrored"],
        )
        check_unlabeled(settings, given=unlabeled is not None)
        others = None if unlabeled is None else images_like(images, unlabeled)
        self.n_features_in_ = int(np.prod(images.shape))
        images = images.weighted(targets.weights)
        if validation_data is None:
            images, validation = hold_out_validation(
                images, parameters["validation_fraction"], seed=parameters["split_seed"], groups=targets.groups
            )
        elif not isinstance(validation_data, tuple | list) or len(validation_data) != 2:
            raise UserError("validation_data must be a pair (X, y) of images and their labels.")
        else:
            validation = self._validation(*validation_data, like=images, targets=targets)
        context = prepare(device=parameters["device"], seed=_seed(parameters["random_state"]))
        with threads.restore_threads():
            self._run(images, validation, others, settings, budget, context)
        self.ledger_ = dict(budget.ledger)
        return self

    def _run(
        self,
        images: Images,
        validation: Images | None,
        others: Images | None,
        settings: Recipe,
        budget: Budget,
        context: Context,
    ) -> None:
        """Select, train, prune and calibrate."""
        select = settings.select
        if select.examples is not None:
            check_size(images, select.examples, balance=select.balance)
        resolved = resolve(settings, Dataset.of(images, validation), budget, context)
        images, validation = resolved.data.train, resolved.data.validation
        recipe = resolved.recipe
        self.subset_: Subset | None = None
        if recipe.select.examples is not None:
            with budget.track("select"):
                unweighted = images.weighted(None)
                self.subset_ = execute.select(
                    unweighted, recipe.select, budget=budget, context=context, proxy=resolved.proxy
                )
                images = images[self.subset_.indices_for(unweighted)]
        with budget.track("train"):
            others = execute.all_unlabeled(resolved, images, others)
            model, _, _, self.unlabeled_ = execute.train_on_all(
                images, others, resolved, budget=budget, validation=validation
            )
        if recipe.prune.enabled:
            with budget.track("prune"):
                model, _ = execute.prune(model, images, recipe.prune, resolved.recovery, budget=budget, context=context)
        self.model_ = execute.calibrate(model, validation, budget)

    def predict_proba(self, X: Any) -> NDArray[np.float32]:
        """Return the probabilities (N, classes) of images, in the order of `classes_`."""
        check_is_fitted(self, "model_")
        return self.model_.predict_proba(X)

    def predict(self, X: Any) -> NDArray[Any]:
        """Return the most probable label of each image (N,), or 0 or 1 for each of several labels (N, L)."""
        probabilities = self.predict_proba(X)
        return self.model_.task.predictions(probabilities, self.classes_)

    def save(self, folder: str | Path) -> None:
        """Save the model in the format of `shoestring predict` and `Model.load`."""
        check_is_fitted(self, "model_")
        self.model_.save(folder)

    @staticmethod
    def _validation(X: Any, y: Any, *, like: Images, targets: Targets) -> Images:
        """Convert validation data to `Images` of the same size and classes as the training images."""
        return images_like(like, X, codes_like(y, targets, count=count_images(X)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        tags.input_tags.one_d_array = True  # of paths or images
        tags.input_tags.string = True
        tags.classifier_tags.multi_label = True
        tags.non_deterministic = self.get_params(deep=False)["time"] is not None
        return tags

    def _more_tags(self) -> dict[str, Any]:
        """The tags for scikit-learn before 1.6."""
        timed = self.get_params(deep=False)["time"] is not None
        return {"X_types": ["3darray", "string"], "non_deterministic": timed, "multilabel": True}

    def __getstate__(self) -> dict[str, Any]:
        """The state to pickle, with the network on the CPU, so that any machine can load it."""
        state = dict(super().__getstate__())
        if "model_" in state:
            state["model_"] = replace(state["model_"], module=copy.deepcopy(state["model_"].module).cpu())
        return state


def _seed(random_state: Any) -> int:
    if isinstance(random_state, int | np.integer) and random_state >= 0:
        return int(random_state)
    return int(check_random_state(random_state).randint(_MAX_SEED))
