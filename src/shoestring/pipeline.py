"""select -> train -> prune -> evaluate, inside one budget, into one run directory."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from shoestring import steps
from shoestring.checks import check
from shoestring.context import Context
from shoestring.data import Dataset, Images
from shoestring.evaluate.cost import cost, count_macs
from shoestring.evaluate.files import write
from shoestring.evaluate.metrics import measure
from shoestring.forecast import check_budget
from shoestring.models.inference import log_probabilities
from shoestring.models.model import Model
from shoestring.recipe import Recipe, Select, as_dict, to_yaml
from shoestring.report.markdown import write_report
from shoestring.rundir import RunDir
from shoestring.runs import EXIT, Run, begin, final_model, surroundings
from shoestring.select import Subset


def run(recipe: Recipe, folder: RunDir, *, context: Context, started: float | None = None) -> dict[str, Any]:
    """Do all that the recipe asks for and that is not done yet; the results, which the folder holds too.

    The budget's clock began at `started` (`time.monotonic` scale; now, when None); what an interrupted run of the same
    recipe spent in this folder is counted. Raises `UserError` and `BudgetTooSmall`, leaving no new folder behind.
    """
    if result := _done(recipe, folder, context):
        return result
    fresh = not folder.run
    this = begin(recipe, folder, context=context, started=started)
    data = this.load()
    with folder.begin(as_dict(recipe), to_yaml(recipe)):
        this.owe(data)
        if fresh:
            check_budget(this, data.train)
        this.note(surroundings=surroundings(context), data={"name": data.name, "fingerprint": data.train.fingerprint})
        subset = select(this, data.train)
        images = data.train if subset is None else data.train[subset]
        trained = train(this, images, data.validation)
        final = prune(this, trained, images, data.validation)
        result = evaluate(this, final, data, images, subset)
    if recipe.baseline:
        result["baseline"] = _baseline(recipe, len(images), folder, context)
    finish(this, result)
    return result


def select_only(recipe: Recipe, folder: RunDir, *, context: Context, started: float | None = None) -> dict[str, Any]:
    """Choose images and stop there; what was chosen, and the file that says so."""
    if result := _done(recipe, folder, context):
        return result
    fresh = not folder.run
    this = begin(recipe, folder, context=context, started=started, only="select")
    data = this.load()
    with folder.begin(as_dict(recipe), to_yaml(recipe)):
        this.budget.owe("exit", EXIT)
        if fresh:
            check_budget(this, data.train)
        subset = select(this, data.train)
        assert subset is not None
        result = {
            "examples": len(subset),
            "method": subset.method,
            "per_class": dict(zip(data.classes, data.train[subset].counts().tolist())),
            "subset": str(folder / "select" / "subset.json"),
            "seconds": round(this.budget.elapsed, 3),
            "out": str(folder.path),
        }
    clean(folder)
    this.note(result=result)
    return result


def _done(recipe: Recipe, folder: RunDir, context: Context) -> dict[str, Any] | None:
    """The results of this very recipe when they are in the folder already; refuses what could never work."""
    check(recipe)
    if not folder.done(as_dict(recipe)):
        return None
    context.say(f"{folder.path} is done already; delete it to run anew")
    return folder.run["result"]


def select(this: Run, images: Images) -> Subset | None:
    """The subset of the recipe: chosen before, chosen now, or None for all images."""
    wanted = this.recipe.select
    if wanted.subset is not None:
        return Subset.load(Path(wanted.subset))
    if wanted.examples is None:
        return None

    def choose() -> Subset:
        with this.budget.paying("select"):
            subset = steps.run_select(images, wanted, budget=this.budget, context=this.step("select"))
        this.note()
        return subset

    return this.folder.once("select/subset.json", choose, Subset.save, Subset.load)


def train(this: Run, images: Images, validation: Images) -> Model:
    """The trained model: that of the run to start from, that in the folder, or one trained now."""
    if this.recipe.start is not None:
        return final_model(Path(this.recipe.start))

    def make() -> Model:
        with this.budget.paying("train"):
            model, went = steps.run_train(
                images,
                this.recipe.train,
                this.recipe.grow,
                budget=this.budget,
                context=this.step("train"),
                validation=validation,
            )
        this.note(training=asdict(went))
        return model

    return _kept(this, "train", make)


def prune(this: Run, model: Model, images: Images, validation: Images) -> Model:
    """The model cut to the recipe's size, or as it is when none is asked for; notes what it was before."""
    if not this.recipe.prune.wanted:
        return model

    def make() -> Model:
        model.module.to(this.context.device)
        before = {"validation": _accuracy(model, validation), "macs": count_macs(model), "params": _params(model)}
        this.note(before_pruning=before)
        with this.budget.paying("prune"):
            small, went = steps.run_prune(
                model,
                images,
                this.recipe.prune,
                this.recipe.train,
                budget=this.budget,
                context=this.step("prune"),
            )
        this.note(recovery=asdict(went) if went else None)
        return small

    return _kept(this, "prune", make)


def evaluate(this: Run, model: Model, data: Dataset, images: Images, subset: Subset | None) -> dict[str, Any]:
    """Measure the final model, once, on the test split; all results as plain values."""
    model.module.to(this.context.device)
    with this.budget.paying("evaluate"):
        scores = log_probabilities(model, data.test)
        metrics = measure(scores, data.test.targets, classes=model.classes, split="test")
        write(this.folder / "evaluate", metrics, scores, data.test)
        validation = _accuracy(model, data.validation)
        costs = asdict(cost(model, device=this.context.device, seconds=this.time_for_timing()))
    notes = this.folder.run
    return {
        **{key: value for key, value in metrics.as_dict().items() if key != "confusion"},
        "validation": validation,
        **costs,
        "model": model.name,
        "options": model.options,
        "examples": len(images),
        "select": None if subset is None else subset.method,
        "before_pruning": notes.get("before_pruning") if this.recipe.prune.wanted else None,
        "budget": {"unit": this.budget.unit, "total": this.budget.total},
        "seconds": round(this.budget.elapsed, 3),
        "ledger": {name: round(seconds, 3) for name, seconds in this.budget.ledger.items()},
        "out": str(this.folder.path),
    }


def finish(this: Run, result: dict[str, Any]) -> None:
    """Results into run.json, from where on the run is done, and the page for people."""
    clean(this.folder)
    this.note(result=result)
    write_report(this.folder, result)


def clean(folder: RunDir) -> None:
    """Remove the states of interrupted steps."""
    for state in folder.path.glob("*/state.pt"):
        state.unlink()


def _kept(this: Run, name: str, make: Any) -> Model:
    return this.folder.once(
        f"{name}/model.json", make, lambda model, file: model.save(file.parent), lambda file: Model.load(file.parent)
    )


def _accuracy(model: Model, images: Images) -> float:
    return float((log_probabilities(model, images).argmax(1) == images.targets).mean())


def _params(model: Model) -> int:
    return sum(weight.numel() for weight in model.module.parameters())


def _baseline(recipe: Recipe, examples: int, folder: RunDir, context: Context) -> dict[str, Any]:
    """The same recipe with random images and a budget of its own, in a folder inside."""
    context.say("baseline: random images, an equal budget")
    control = Select("random", examples, recipe.select.balance)
    result = run(replace(recipe, select=control, baseline=False), RunDir(folder / "baseline"), context=context)
    return {key: result[key] for key in ("accuracy", "interval", "seconds", "out")}
