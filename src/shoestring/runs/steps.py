"""The steps of a run: each loads its result from the run folder if it exists, otherwise computes and saves it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Any

from shoestring import execute
from shoestring.config.model_files import model_folder
from shoestring.data import Dataset, Images
from shoestring.evaluation.cost import measure_cost
from shoestring.evaluation.files import write_metrics
from shoestring.evaluation.tasks import collect, measure, without_images
from shoestring.evaluation.warnings import find_warnings, pruning_warnings
from shoestring.models.inference import Predictor
from shoestring.models.model import Model
from shoestring.planning.proxy import Proxy
from shoestring.planning.resolve import Resolved
from shoestring.runs import unlabeled
from shoestring.runs.models import final_model
from shoestring.runs.pareto import write_pareto
from shoestring.runs.plan import record_plan
from shoestring.runs.pruning import CutMeasurements, measure_before, write_comparison, write_layers
from shoestring.runs.session import Run
from shoestring.runtime import threads
from shoestring.selection import Subset
from shoestring.selection.near_duplicates import find_leaked
from shoestring.selection.subset_files import load_subset, never_held_out
from shoestring.training.snapshots import remove


def select(run: Run, images: Images, proxy: Proxy | None) -> Subset | None:
    """Return the subset of the images to train on: loaded or selected; None for all images."""
    settings = run.recipe.select
    if settings.subset is not None:
        return load_subset(settings.subset, images)
    if settings.examples is None:
        return None
    already = None if settings.already is None else load_subset(settings.already, images)

    def make() -> Subset:
        run.context.log(f"selecting {settings.examples:,} of {len(images):,} images")
        with run.budget.track("select"):
            context = run.step_context("select")
            subset = execute.select(images, settings, budget=run.budget, context=context, proxy=proxy, already=already)
            rows = never_held_out(run.recipe)
            subset = replace(subset, never_held_out=None if rows is None else tuple(rows.tolist()))
        run.record()
        return subset

    return run.folder.load_or_make("select/subset.json", make, Subset.save, Subset.load)


def selection_result(run: Run, images: Images, subset: Subset, data: Dataset | None) -> dict[str, Any]:
    """Return the results of a selection as plain values; with `drop_duplicates` also leaked test images."""
    result: dict[str, Any] = {
        "examples": len(subset),
        "kept": subset.kept,
        "left_out": subset.left_out,
        "skipped": len(images.skipped),
        "method": subset.method,
        "per_class": dict(zip(images.classes, images[subset].counts().tolist())) if data is not None else None,
    }
    if data is not None and run.recipe.select.drop_duplicates:
        result["test_images_in_training"] = _leaked_names(images, data)
    return {
        **result,
        "subset": str(run.folder / "select" / "subset.json"),
        "seconds": round(run.budget.elapsed, 3),
        "out": str(run.folder.path),
    }


def find_leaked_images(run: Run, images: Images, data: Dataset) -> None:
    """Record the test images that have a near duplicate among the training images, with `drop_duplicates`."""
    if run.recipe.select.drop_duplicates and "test_images_in_training" not in run.folder.run:
        with run.budget.track("select"):
            leaked = _leaked_names(images, data)
        run.record(test_images_in_training=leaked)


def _leaked_names(images: Images, data: Dataset) -> list[str]:
    """Names of the test images that have a near duplicate among the images."""
    return [str(name) for name in data.test.ids[find_leaked(images, data.test)]]


def train(run: Run, images: Images, validation: Images, resolved: Resolved) -> Model:
    """Return the trained model: of the run to start from, loaded from the folder, or trained as planned."""
    if run.recipe.start is not None:
        return final_model(Path(run.recipe.start))

    def make() -> Model:
        with run.budget.track("train"):
            model, summary, final = unlabeled.train(run, images, validation, resolved)
        run.record(training=asdict(summary))
        if final is not resolved:
            record_plan(run, final)
        return model

    return _load_or_make(run, "train", make)


def prune(run: Run, model: Model, images: Images, validation: Images, resolved: Resolved) -> Model:
    """Return the model pruned to the size of the recipe, unchanged without one; records its metrics before pruning."""
    if not run.recipe.prune.enabled:
        return model

    def make() -> Model:
        run.context.log("evaluating before pruning")
        model.module.to(run.context.device)
        with run.budget.track("validate"):
            before = measure_before(run, model, validation)
        run.record(before_pruning=before)
        run.record_validation("train", before["validation"])
        run.context.log("pruning")
        with run.budget.track("prune"):
            measured = CutMeasurements(run, model)
            how: dict[str, Any] = {"budget": run.budget, "context": run.step_context("prune")}
            how["observer"] = execute.Observer(measured.on_cut, measured.on_measured)
            pruned, summary = execute.prune(model, images, run.recipe.prune, resolved.recovery, **how)
        run.folder.check_exists()
        write_layers(run.folder / "prune", model.module, pruned.module)
        measured.write(run.folder / "prune")
        recovery = asdict(summary) if summary else None
        run.record(recovery=recovery, pruning_latencies=measured.latencies, latency_search=measured.tried)
        return pruned

    return _load_or_make(run, "prune", make)


def evaluate(run: Run, model: Model, data: Dataset, images: Images, subset: Subset | None) -> dict[str, Any]:
    """Evaluate the final model, once, on the test split or that of the recipe; return all results as plain values.

    Its temperature is fitted on the validation split first. If time is short, predictions use less test-time
    augmentation (`Predictor`), and the latency of a batch is not measured.
    """
    budget = run.budget
    tested = "" if run.recipe.evaluate == "validation" else f" and {len(data.test):,} test"
    run.context.log(f"evaluating on {len(data.validation):,} validation{tested} images")
    model.module.to(run.context.device)
    with budget.track("evaluate"):
        predictor = _predictor(run, model, data)
        model, validation = execute.with_temperature(predictor, data.validation)
        predictor.model = _save_description(run, model)
        run.record_validation("evaluate", validation.accuracy)
        metrics = _test(run, predictor, data.test)
        seconds, limit = run.timing_limits()
        with threads.restore_threads():  # training may use fewer
            if run.context.threads is not None:
                threads.set_threads(run.context.threads)
            costs = measure_cost(model, device=run.context.device, seconds=seconds, limit=limit)
        budget.release("timing")
    if run.recipe.prune.enabled:
        write_comparison(run, asdict(costs), validation, data.validation.classes)
        write_pareto(run, asdict(costs), validation)
    recorded, leaked = run.folder.run, {}
    before = recorded.get("before_pruning") if run.recipe.prune.enabled else None
    warnings = find_warnings(metrics)
    if before is not None:
        warnings += pruning_warnings(before["validation"], validation.accuracy, len(validation))
    if run.recipe.select.drop_duplicates:
        leaked["test_images_in_training"] = recorded["test_images_in_training"]
    return {
        **{key: value for key, value in metrics.items() if key != "confusion"},
        "validation": validation.accuracy,
        "validation_images": len(validation),
        "temperature": model.temperature,
        **asdict(costs),
        "prediction": costs.of_prediction(predictor.stats.passes_per_image or 1.0),
        "tta": {
            "model": predictor.tta,
            "mirror": model.preprocessing.mirror,
            "images": predictor.stats.images_by_tta,
        },
        "model": model.name,
        "options": model.options,
        "examples": len(images),
        "training_pool": len(data.train),
        "class_weights": run.recipe.train.class_weights,
        "skipped": len(data.skipped),
        "select": None if subset is None else subset.method,
        **leaked,
        **unlabeled.unlabeled_result(run),
        "before_pruning": before,
        "warnings": warnings,
        "budget": {"unit": budget.unit, "total": budget.total},
        "seconds": round(budget.elapsed, 3),
        "ledger": {name: round(seconds, 3) for name, seconds in budget.ledger.items()},
        "out": str(run.folder.path),
    }


def _test(run: Run, predictor: Predictor, images: Images) -> dict[str, Any]:
    """Return the metrics on the test images as plain values, and write their files; without images none is measured."""
    classes, split = images.classes, run.recipe.evaluate or "test"
    if not len(images):
        metrics = without_images(images.task, classes, split)
        run.budget.release("evaluate")
    else:
        predictions = collect(predictor(images), images)
        measured = measure(predictions, classes=classes, split=split)
        run.budget.release("evaluate")
        run.folder.check_exists()
        write_metrics(run.folder / "evaluate", measured, predictions, images)
        metrics = measured.as_dict()
    run.budget.release("files")
    return metrics


def _predictor(run: Run, model: Model, data: Dataset) -> Predictor:
    """A predictor for the validation and the test split, within the remaining time if the budget is a time."""
    model = replace(model, temperature=1.0)  # an interrupted evaluation may have fitted it
    if run.budget.unit != "seconds":
        return Predictor(model)
    pending, remaining = len(data.validation) + len(data.test), partial(run.budget.remaining_for, "evaluate")
    return Predictor(model, remaining=remaining, pending=pending, seconds_per_pass=run.budget.seconds_per_pass)


def _save_description(run: Run, model: Model) -> Model:
    """Save the description of the model (which has the temperature) in the run folder; return the model."""
    run.folder.check_exists()
    folder = model_folder(run.folder.path)
    assert folder is not None
    model.save_description(folder)
    return model


def finish(run: Run, result: dict[str, Any]) -> dict[str, Any]:
    """Write the results to run.json, which marks the run as finished, and return them.

    Checkpoints are removed, except that of the training if it can be extended.
    """
    for state in run.folder.path.glob("*/state.pt"):
        if not (run.recipe.extendable and state.parent.name == "train"):
            state.unlink()
    for step in ("train", "prune"):
        remove(run.folder / step)
    run.record(result=result)
    return result


def _load_or_make(run: Run, name: str, make: Callable[[], Model]) -> Model:
    return run.folder.load_or_make(
        f"{name}/model.json", make, lambda model, file: model.save(file.parent), lambda file: Model.load(file.parent)
    )
