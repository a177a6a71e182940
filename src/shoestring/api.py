"""Public functions: select, train, prune, evaluate. Each works alone, or shares a budget with the others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from shoestring import execute
from shoestring.budget import DEFAULT_EPOCHS, Budget
from shoestring.config.layers import CALL, merge
from shoestring.config.recipe import Tickets, TicketsRecipe, Train
from shoestring.config.unlabeled import check_unlabeled
from shoestring.data import Dataset, Images
from shoestring.errors import UserError
from shoestring.evaluation.tasks import AnyMetrics, measure
from shoestring.models.model import Model
from shoestring.planning.criterion import choose_criterion
from shoestring.planning.resolve import resolve
from shoestring.runtime import threads
from shoestring.runtime.context import Context, prepare
from shoestring.selection import Subset
from shoestring.selection.select import check_size
from shoestring.selection.subset_files import load_subset
from shoestring.tasks import check_same_task

_PROXY_EPOCHS = 6
_MIN_SEEN = 400  # images that a proxy model sees at least, repetitions included


def select(
    images: Images,
    examples: int,
    *,
    method: str = "auto",
    already: Subset | str | Path | None = None,
    seed: int = 0,
    budget: Budget | None = None,
    context: Context | None = None,
    **settings: Any,
) -> Subset:
    """Select `examples` of the images, best first.

    `settings` are the other fields of `recipe.Select` (`within="easiest:0.2"` restricts the method to a range of
    difficulty, `features="timm:resnet18"` names the features for comparing images) and the options of the method. The
    images of `already` (a subset, or its file or run folder) come first and count as examples. `seed` is ignored with a
    `context`, which has its own. Methods that need training dynamics, or features if none are set, train a small proxy
    model on all images within the part of the budget allotted to `select` (default: 6 epochs). Unlabeled images can
    be selected by methods that need no labels.

    Raises `UserError` for unknown names and invalid numbers, and `BudgetTooSmall` if the proxy cannot be trained.
    """
    recipe, _ = merge((CALL, {"select": {"method": method, "examples": examples, **settings}}))
    if recipe.select.subset is not None:
        raise UserError("subset names a finished selection: omit it, and use images[Subset.load(file)].")
    if not len(images):
        raise UserError("there are no images to select from: pass at least one.")
    context = context or prepare(seed=seed)
    budget = budget or Budget(epochs=max(_PROXY_EPOCHS, _MIN_SEEN / len(images)), steps=("select",))
    earlier = load_subset(already, images) if isinstance(already, str | Path) else already
    check_size(images, examples, balance=recipe.select.balance, already=earlier)
    with threads.restore_threads():
        resolved = resolve(recipe, Dataset.of(images), budget, context, steps=("select",))
        requested = resolved.recipe.select
        return execute.select(images, requested, budget=budget, context=context, proxy=resolved.proxy, already=earlier)


def train(  # noqa: PLR0913 (public: keywords with defaults)
    images: Images,
    *,
    model: str = "auto",
    grow: str = "auto",
    stages: str | None = None,
    budget: Budget | None = None,
    validation: Images | None = None,
    unlabeled: Images | None = None,
    seed: int = 0,
    context: Context | None = None,
    **settings: Any,
) -> Model:
    """Train a network until its allotted part of the budget is used up (default: 10 epochs).

    `grow` names growth schedules ("resolution,width"); `stages` defines them explicitly ("0.5@0.75,1@1"). `settings`
    are the fields of `recipe.Train`. Held-out `validation` images are used to fit the temperature of the model
    (otherwise it is 1) and for early stopping. Images in `unlabeled`, of the same size, are trained on with the labels
    that the network predicts with confidence; any labels that they have are not used. `seed` is ignored with a
    `context`, which has its own.

    Raises `UserError` for unknown names and settings, and `BudgetTooSmall` before training if there is no time for ten
    steps.
    """
    growth = {"method": grow} | ({"stages": stages} if stages is not None else {})
    use = {} if unlabeled is None else {"use_unlabeled": True}
    recipe, _ = merge((CALL, {"train": {"model": model, **use, **settings}, "grow": growth}))
    check_unlabeled(recipe, given=unlabeled is not None)
    check_trainable(images, validation)
    context = context or prepare(seed=seed)
    budget = budget or Budget(epochs=DEFAULT_EPOCHS, steps=("train",))
    data = Dataset.of(images, validation)
    with threads.restore_threads():
        resolved = resolve(recipe, data, budget, context, steps=("train",))
        data = resolved.data
        others = execute.all_unlabeled(resolved, data.train, unlabeled)
        trained, _, _, _ = execute.train_on_all(data.train, others, resolved, budget=budget, validation=data.validation)
        return execute.calibrate(trained, data.validation, budget)


def check_trainable(images: Images, validation: Images | None = None) -> None:
    """Raise `UserError` for images that cannot be trained on: none, unlabeled, of one class, or of other classes."""
    if images.labels is None:
        raise UserError("these images have no labels, and training needs them: pass labeled images.")
    if not len(images):
        raise UserError("there are no images to train on: pass at least one.")
    if len(images.classes) < 2:
        raise UserError(f"one class only ({', '.join(images.classes)}): training needs at least two.")
    if validation is not None:
        _check_classes(images, "the images", validation, "the validation images")


def _check_classes(like: Model | Images, owner: str, images: Images, name: str) -> None:
    """Raise `UserError` unless the images are labeled as those of a model or as other images, called `owner`."""
    classes = like.classes
    if images.labels is None:
        raise UserError(f"{name} have no labels, which are needed here: pass labeled images.")
    check_same_task(like.task, owner, images.task, name)
    if images.classes != classes:
        raise UserError(
            f"the classes of {owner} are {', '.join(classes)}, and those of {name} {', '.join(images.classes)}: they "
            "must be the same, in the same order."
        )


def prune(  # noqa: PLR0913 (public: keywords with defaults)
    model: Model,
    images: Images,
    *,
    macs: str | float | None = None,
    params: str | float | None = None,
    file_size: str | float | None = None,
    latency: str | float | None = None,
    keep_channels: float | str | Mapping[str, float] | None = None,
    method: str = "auto",
    scope: str = "auto",
    compensate: bool = True,
    distil: bool = False,
    budget: Budget | None = None,
    validation: Images | None = None,
    seed: int = 0,
    context: Context | None = None,
    settings: Train | None = None,
    **options: Any,
) -> Model:
    """Return a smaller copy of the model, pruned to a fraction (0.5) or number (20M) of MACs or parameters.

    Other targets are `file_size` ("300kB"), `latency` ("2ms" in ONNX Runtime on one thread of this machine) and
    `keep_channels` (0.5, or "conv1=0.75,layer2=0.5"). `scope` divides a target among layers, and `compensate` refits
    the remaining weights, as in `shoestring.pruning.shrink`.

    It is fine-tuned on the images until its allotted part of the budget is used up. Without a budget it is not trained,
    and the images need no labels: layers only compensate for removed channels on them. With `distil`, it is fine-tuned
    on the predictions of the original network as well as on the labels. The temperature is fitted on `validation`
    images, or copied from the model. `method` is the criterion that ranks channels, and `options` are its options;
    `settings` configure the fine-tuning (batch size, learning rate, augmentation; those of the network are ignored).
    `seed` is ignored with a `context`, which has its own.

    Raises `UserError` for unknown names and options, for images or `validation` images without the classes of the
    model, and if the target cannot be reached or nothing can be pruned.
    """
    given = {"macs": macs, "params": params, "file_size": file_size, "latency": latency}
    given |= {"keep_channels": keep_channels, "method": method, "scope": scope}
    given |= {"compensate": compensate, "distil": distil}
    given = {name: value for name, value in given.items() if value is not None}
    recipe, _ = merge((CALL, {"prune": {**given, **options}}))
    recipe = replace(recipe, prune=choose_criterion(recipe.prune, trained=True)[0])
    if not len(images):
        raise UserError("there are no images to prune with: pass at least one.")
    if budget is not None:
        _check_classes(model, "the model", images, "the images")
    if validation is not None:
        _check_classes(model, "the model", validation, "the validation images")
    context, plan = context or prepare(seed=seed), None
    data = Dataset.of(images, validation)
    with threads.restore_threads():
        if budget is not None:
            recipe = replace(recipe, train=settings or Train())
            plan = resolve(recipe, data, budget, context, steps=("prune",), model=model).recovery
        pruned, _ = execute.prune(model, images, recipe.prune, plan, budget=budget, context=context)
        return execute.calibrate(pruned, data.validation, budget)


def tickets(
    images: Images,
    *,
    test: Images | None = None,
    validation: Images | None = None,
    model: str = "conv2",
    budget: Budget | None = None,
    seed: int = 0,
    context: Context | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Find lottery tickets: train, remove the smallest weights, rewind the others and train again, beside controls.

    `settings` are the fields of `recipe.Tickets` (levels=8, rewind="500", controls="reinit,random", seeds=3) and of
    `recipe.Train`. `budget` is a time for all trainings together, or the epochs or FLOPs of each (default: 10 epochs).
    Returns `rows`, one mapping for each training, their `summary` over seeds, `notes` on the limits of these numbers,
    and as `ticket` the smallest network of the first seed that is not worse than the dense one on the validation
    images. `seed` is ignored with a `context`, which has its own.

    Raises `UserError` for unknown names and invalid settings, and `BudgetTooSmall` if a training does not fit.
    """
    own = {field.name for field in fields(Tickets)}
    sections = {
        "tickets": {name: value for name, value in settings.items() if name in own},
        "train": {"model": model, "tta": "none", **{n: value for n, value in settings.items() if n not in own}},
    }
    recipe, _ = merge((CALL, sections))
    assert isinstance(recipe, TicketsRecipe)
    check_trainable(images, validation)
    if test is not None:
        _check_classes(images, "the images", test, "the test images")
    data = Dataset.of(images, validation, test)
    with threads.restore_threads():
        return execute.find_tickets(recipe, data, budget=budget, context=context or prepare(seed=seed))


def evaluate(model: Model, images: Images, *, split: str = "test") -> AnyMetrics:
    """Compute the model's metrics on labeled images, in full precision and with its test-time augmentation.

    Raises `UserError` if there are no images, if they have no labels, or if their classes are not those of the model.
    """
    _check_classes(model, "the model", images, "the images")
    return measure(execute.predict(model, images), classes=model.classes, split=split)
