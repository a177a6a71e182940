"""The plan of a run: made once, saved in run.json, and loaded from there when the run is resumed."""

from __future__ import annotations

from dataclasses import replace

from shoestring.config.plan import Plan, run_plan, to_dict
from shoestring.data import Images
from shoestring.planning.model import Network
from shoestring.planning.plan import Planned, Planner, allotment_of
from shoestring.runs.preflight import trains_proxy
from shoestring.runs.session import Run
from shoestring.selection.subset_files import load_subset


def make_planner(run: Run) -> Planner:
    """Return the planner of the run's training."""
    recipe = run.recipe
    return Planner(recipe.train, recipe.grow, run.profiler, run.step_context("train"), later=recipe.prune)


def make_plan(run: Run, images: Images, planner: Planner) -> Planned | None:
    """Plan the training on a selection of these images; None if the run starts from a finished one."""
    if run.recipe.start is not None:
        return None
    if planner.saved is None:
        run.context.log("choosing the network and measuring its speed")
    pending = ("select",) if trains_proxy(run, images) else ()
    count = training_images(run, images)
    allotment = allotment_of(run.budget, "train", count=count, later=run.recipe.prune, pending=pending)
    planned = planner(images, allotment)
    run.budget.seconds_per_pass = planned.train.times.predict or None
    return planned


def stored_plan(run: Run, images: Images, planner: Planner) -> Planned | None:
    """Return the plan in run.json; it is made now if the run was interrupted before there was one."""
    stored = run.folder.run.get("plan")
    if stored is None or run.recipe.start is not None or planner.saved is not None:
        return make_plan(run, images, planner)
    plan = run_plan(stored)
    run.budget.seconds_per_pass = None if plan.train is None else plan.train.times.predict or None
    assert plan.model is not None and plan.train is not None
    network = Network(plan.model, plan.options, plan.reasons.get("model", ""), plan.train.side)
    return Planned(network, planner.build(network, images), plan.train, dict(plan.reasons))


def record_plan(run: Run, planned: Planned | None, images: Images) -> None:
    """Write the plan to run.json."""
    run.record(plan=to_dict(plan_record(run, planned, images)))


def plan_record(run: Run, planned: Planned | None, images: Images) -> Plan:
    """Return the plan as plain data."""
    recipe, stored = run.recipe, run.folder.run.get("plan", {})
    selection, reason = run.selection(images)
    prune = recipe.prune.method if recipe.prune.enabled else None
    plan = Plan(images.shape[0], recipe.train.tta, select=selection and selection.method, prune=prune)
    reasons = {**run.reasons, "select": reason, "prune": "by the recipe"}
    if planned is not None:
        network, reasons = planned.network, reasons | planned.reasons
        plan = replace(plan, model=network.name, options=dict(network.options), train=planned.train)
    return replace(plan, reasons=reasons | stored.get("reasons", {}))  # a resumed run keeps the first reasons


def training_images(run: Run, images: Images) -> int:
    """Return the number of images that the run trains on."""
    select = run.recipe.select
    if select.subset is not None:
        return len(load_subset(select.subset, images))
    return min(select.examples or len(images), len(images))
