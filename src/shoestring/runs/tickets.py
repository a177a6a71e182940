"""Run a lottery ticket experiment in a run folder; it is resumed after the last finished training."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from shoestring.budget import DEFAULT_EPOCHS, Budget
from shoestring.config.recipe import TicketsRecipe
from shoestring.config.serialize import as_dict
from shoestring.data import Dataset, Images
from shoestring.execute.ticket_results import results, without_dead_channels
from shoestring.execute.ticket_store import Row, Store
from shoestring.execute.tickets import Experiment
from shoestring.models.model import Model
from shoestring.planning.resolve import Resolved
from shoestring.planning.tickets import check_tickets, plan_tickets
from shoestring.reporting.ticket_page import ticket_chart, ticket_page
from shoestring.reporting.tickets import write_files
from shoestring.runs import steps
from shoestring.runs.directory import RunDir
from shoestring.runs.environment import environment
from shoestring.runs.finished import add_lateness
from shoestring.runs.loading import current_key
from shoestring.runs.plan import record_plan, stored_plan
from shoestring.runs.progress import with_history, with_run_fraction
from shoestring.runs.report import PAGE
from shoestring.runs.session import Run, finished_result
from shoestring.runtime.context import Context
from shoestring.runtime.files import write_text

_ONLY = "tickets"
_CHANNELS_FRACTION = 0.05  # of a time budget, for removing channels
_PAGE_SECONDS = 2.0  # for the page


def run(recipe: TicketsRecipe, folder: RunDir, *, context: Context, started: float | None = None) -> dict[str, Any]:
    """Do all trainings that are not done yet, and return the results, which are saved in the folder.

    The folder's model is the smallest ticket of the first seed that is not worse than the dense network on the
    validation images, or the smallest one without such images. Raises `UserError` and `BudgetTooSmall`.
    """
    if result := finished_result(recipe, folder, context=context, only=_ONLY):
        return result
    check_tickets(recipe)
    begun = _begin(recipe, folder, context=context, started=started)
    data, plans = begun.load(), list[Resolved]()

    def plan() -> Resolved:
        stored = stored_plan(folder)
        return plan_tickets(recipe, data, begun.budget, begun.context, stored=stored)

    begun.reserve_exit()
    begun.reserve_report()
    if recipe.tickets.to_channels:
        begun.budget.reserve("channels", _CHANNELS_FRACTION * begun.budget.total)
    with begun.open_folder(data.train, plan=lambda: plans.append(plan())):
        resolved = plans[0] if plans else plan()
        run = replace(begun, recipe=resolved.recipe)
        run.record(surroundings=environment(context))
        record_plan(run, resolved)
        planned_data = resolved.data
        subset = steps.select(run, planned_data.train, None)
        images = planned_data.train if subset is None else planned_data.train[subset]
        result = _find(run, recipe, resolved, planned_data, images)
        add_lateness(run, result)
    return steps.finish(run, result)


def _begin(recipe: TicketsRecipe, folder: RunDir, *, context: Context, started: float | None) -> Run:
    """Return the run with its budget: of all trainings, if epochs or FLOPs are given of one."""
    spent, ledger = folder.spent()
    count = recipe.tickets.trainings
    epochs = recipe.epochs or (DEFAULT_EPOCHS if recipe.time is None and recipe.flops is None else None)
    budget = Budget.resume(
        recipe.time,
        epochs=None if epochs is None else count * epochs,
        flops=None if recipe.flops is None else count * recipe.flops,
        steps=(),
        started=started,
        before=spent,
        spent=folder.run.get("counted", 0.0),
        ledger=ledger,
    )
    if spent:
        context.log(f"{folder.path} was interrupted after {spent:.0f} s; resuming it")
    on_progress = with_history(with_run_fraction(context.on_progress, budget), folder, budget)
    context = replace(context, folder=folder.path, on_progress=on_progress)
    return Run(recipe, folder, budget, context, _ONLY, current_key(recipe))


def _find(run: Run, recipe: TicketsRecipe, resolved: Resolved, data: Dataset, images: Images) -> dict[str, Any]:
    """Do the trainings, save the winner, and return all results as plain values."""
    folder, budget, context = run.folder, run.budget, run.step_context("tickets")

    def save(model: Model, row: Row) -> None:
        folder.check_exists()
        model.save(folder / "prune")

    store = Store(folder / "tickets")
    experiment = Experiment(recipe.tickets, resolved, data, images, budget, context, store, save)
    with budget.track("tickets"):
        rows = experiment.run()
    run.record()
    dense, channels = experiment.planned.model, None
    if recipe.tickets.to_channels:
        context.log("removing dead channels")
        with budget.track("channels"):
            smaller, channels = without_dead_channels(Model.load(folder / "prune"), dense, images)
            smaller.save(folder / "prune")
    result = {
        "model": dense.name,
        "options": dense.options,
        "examples": len(images),
        "test_images": len(data.test),
        "validation_images": len(data.validation),
        "tickets": as_dict(recipe)["tickets"],
        **results(experiment, rows, channels),
        "warnings": [],
        "seconds": round(budget.elapsed, 3),
        "ledger": {name: round(seconds, 3) for name, seconds in budget.ledger.items()},
        "out": str(folder.path),
    }
    write_files(folder.path, result, rows)
    _write_page(run, result)
    return result


def _write_page(run: Run, result: dict[str, Any]) -> None:
    """Write the page, if there is time for it, and add its time to the results."""
    budget, path = run.budget, run.folder.path
    if budget.unit == "seconds" and budget.remaining_for("report") < _PAGE_SECONDS * budget.slowdown:
        run.context.log(f"no time for {path / PAGE}: `shoestring report {path}` writes it")
        return
    with budget.track("report"):
        chart = ticket_chart(result)
    result["seconds"] = round(budget.elapsed, 3)
    result["ledger"]["report"] = round(budget.ledger["report"], 3)
    write_text(path / PAGE, ticket_page(result, chart))
