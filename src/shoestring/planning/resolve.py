"""One plan: answers everything that a recipe leaves open, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from shoestring.budget import Budget
from shoestring.config.plan import Plan, TrainPlan, UnlabeledPlan
from shoestring.config.recipe import Recipe
from shoestring.data import Dataset, Images
from shoestring.data.labels import check_class_weights
from shoestring.errors import UserError
from shoestring.models import timm
from shoestring.models.model import Model
from shoestring.planning.backbone import choose_backbone
from shoestring.planning.criterion import choose_criterion
from shoestring.planning.model import Network
from shoestring.planning.plan import Planned, Planner, allotment_of
from shoestring.planning.preflight import check_budget, fit_to_budget
from shoestring.planning.pretrained import is_open, settings_like, with_weights
from shoestring.planning.profiling import Profiler
from shoestring.planning.proxy import Proxy, plan_proxy, planned_proxy, reserve_proxy
from shoestring.planning.recovery import plan_recovery
from shoestring.planning.request import Request, count_training_images
from shoestring.planning.selection_method import choose_selection, describe_method
from shoestring.planning.unlabeled import plan_unlabeled
from shoestring.runtime import threads
from shoestring.runtime.context import Context
from shoestring.tasks import MULTI_LABEL
from shoestring.training.checkpoint import Checkpoint, Saved


@dataclass(frozen=True)
class Resolved:
    """A recipe with every answer filled in, and the images in the planned size.

    `training`, `proxy` and `recovery` (the plan for fine-tuning the pruned network) are None where no network is
    trained, and `planner` plans the training again if steps take longer than planned.
    """

    recipe: Recipe
    data: Dataset
    planner: Planner
    training: Planned | None = None
    proxy: Proxy | None = None
    recovery: TrainPlan | None = None
    unlabeled: UnlabeledPlan | None = None
    reasons: Mapping[str, str] = field(default_factory=dict)

    @property
    def plan(self) -> Plan:
        """Every answer, with its reason, as plain data."""
        recipe, training = self.recipe, self.training
        plan = Plan(
            self.data.train.shape[0],
            recipe.train.tta,
            weights=recipe.train.weights,
            select=recipe.select.method if recipe.select.examples is not None else None,
            features=recipe.select.features if recipe.select.examples is not None else None,
            proxy=None if self.proxy is None else self.proxy.plan,
            prune=recipe.prune.what if recipe.prune.enabled else None,
            recovery=self.recovery,
            unlabeled=self.unlabeled,
            reasons=dict(self.reasons),
        )
        if training is None:
            return plan
        network, reasons = training.network, {**training.reasons, **plan.reasons}
        return replace(plan, model=network.name, options=dict(network.options), train=training.train, reasons=reasons)

    @property
    def examples(self) -> int:
        """Number of images to train on."""
        return count_training_images(self.recipe, self.data.train)

    def revised(self, training: Planned, images: Images, budget: Budget) -> Resolved:
        """Return this with another plan of the training on these images, its reasons, and the recovery after it."""
        reasons = {name: reason for name, reason in self.reasons.items() if name not in training.reasons}
        recovery, recipe = self.recovery, self.recipe
        if recovery is not None:
            allotment = allotment_of(budget, "prune", count=len(images), pending=("train",))
            profiler = self.planner.profiler
            recovery = plan_recovery(training.model, images, recipe.train, recipe.prune, allotment, profiler)
        return replace(self, training=training, recovery=recovery, reasons=reasons)


def resolve(
    recipe: Recipe,
    data: Dataset,
    budget: Budget,
    context: Context,
    *,
    steps: Sequence[str] | None = None,
    model: Model | None = None,
    stored: Plan | None = None,
) -> Resolved:
    """Return the plan of a recipe for the images of a data set, within the budget.

    `steps` are those still to be done (None: all of the recipe). `model` is a finished one to start from. The plan of
    an interrupted run is `stored`, and its checkpoint, if there is one, in the folder of the context; a training whose
    budget was spent is extended if the budget is larger now. The time for evaluation is reserved in the budget.

    Raises `BudgetTooSmall` unless each step can train for ten steps, also with less test-time augmentation and smaller
    images, and `UserError` for settings that the network or the images do not support. A resumed run is not rejected.
    """
    steps = recipe.steps if steps is None else steps
    requested, recipe = recipe.train.weights is not None, replace(recipe, train=with_weights(recipe.train))
    request = Request(recipe, data, Profiler(budget, context), steps, model, stored, weights_requested=requested)
    with budget.track("plan"):
        return _resolve(request)


def _resolve(request: Request) -> Resolved:
    reasons: dict[str, str] = {}
    recipe, stored = request.recipe, request.stored
    _check(request)
    unlabeled = plan_unlabeled(recipe.train, request.context, request.data.train.task) if request.trains else None
    saved = Checkpoint(request.context.folder).load() if request.trains else None
    if request.trains:
        request, found = _with_backbone(request, saved)
        reasons |= found
    elif request.model is not None:
        request = replace(request, recipe=replace(request.recipe, train=settings_like(request.model, recipe.train)))
    if recipe.prune.enabled:
        trained = recipe.start is not None or request.recipe.train.starts_from_weights
        prune, reasons["prune"] = choose_criterion(recipe.prune, trained=trained)
        request = replace(request, recipe=replace(request.recipe, prune=prune))
    if request.recipe.select.examples is not None:
        request, selection = _with_method(request)
        reasons |= selection
    recipe = request.recipe
    extended = saved is not None and saved.can_extend(request.budget.total)
    resumed = saved is not None or (stored is not None and (stored.train is not None or not request.trains))
    if request.timed and not resumed and (request.trains or request.prunes or request.trains_proxy):
        request.context.log("measuring step times")
    with threads.single_thread(request.context.threads):
        if request.trains or request.model is not None:
            request, fitted = fit_to_budget(request)
            reasons |= fitted
        if extended or not resumed:
            check_budget(request)
    if extended:
        request = replace(request, stored=None)
    planner = Planner(request.recipe.train, recipe.grow, request.profiler, later=recipe.prune, saved=saved)
    proxy = _proxy(request)
    training = _training(request, planner, proxy)
    recovery = _recovery(request, training, proxy)
    if proxy is not None:
        reasons["proxy"] = f"{request.recipe.select.method} needs a network trained on all images: {proxy.network.name}"
    if recovery is not None:
        reasons["recovery"] = "fine-tuning of the pruned network"
    if stored is not None:
        reasons |= stored.reasons
    return Resolved(request.recipe, request.data, planner, training, proxy, recovery, unlabeled, reasons)


def _check(request: Request) -> None:
    """Raise `UserError` for what can be refused before anything is measured."""
    settings = request.recipe.train
    if settings.precision == "float16" and request.context.device.startswith("cpu"):
        raise UserError("float16 is for accelerators, and very slow on CPUs: use --precision bfloat16 or auto.")
    check_class_weights(settings.class_weights, request.data.train.classes)
    several = request.data.train.task == MULTI_LABEL
    if several and request.trains and settings.head is not None and settings.head.kind == "prototype":
        raise UserError("--head prototype needs one class for each image, and these have several labels: use linear.")
    if request.trains and settings.patience is not None and not len(request.data.validation):
        raise UserError("patience needs validation images: pass some, or omit patience.")


def _with_backbone(request: Request, saved: Saved | None) -> tuple[Request, dict[str, str]]:
    """The request with the kind of network chosen, or that of the stored plan or training, and the reasons."""
    recipe, stored, settings = request.recipe, request.stored, request.recipe.train
    if not is_open(recipe):
        default = settings.weights == "pretrained" and not request.weights_requested
        return request, {"weights": "the default of timm models" if default else "as requested"}
    name = saved.network[0] if saved is not None else stored.model if stored is not None else None
    if name is not None:
        reason = "as before"
        if name.startswith(timm.PREFIX):
            settings = replace(settings, model=name, weights="pretrained")
    else:
        allotment = allotment_of(request.budget, "train", count=request.examples, later=recipe.prune)
        settings, reason = choose_backbone(recipe, request.data.train, allotment, request.profiler)
        request.context.log(f"{settings.model if settings.weights else 'a network from scratch'}: {reason}")
    reasons = {"weights": reason} | ({"model": reason} if settings.weights else {})
    return replace(request, recipe=replace(recipe, train=settings)), reasons


def _with_method(request: Request) -> tuple[Request, dict[str, str]]:
    """The request with selection method and features resolved, or those of the stored plan, and the reasons."""
    recipe, stored = request.recipe, request.stored
    if stored is not None and stored.select is not None:
        features = stored.features if recipe.select.features is None else recipe.select.features
        select = replace(recipe.select, method=stored.select, features=features)
        reasons = {"select": stored.reasons.get("select", "")}
    else:
        select, reasons = choose_selection(request)
    if recipe.select.method == "auto" and "select" in request.steps:
        request.context.log(describe_method(select.method))
    return replace(request, recipe=replace(recipe, select=select)), reasons


def _proxy(request: Request) -> Proxy | None:
    if not request.trains_proxy:
        return None
    images, stored, select = request.data.train, request.stored, request.recipe.select
    if stored is not None and stored.proxy is not None:
        reserve_proxy(request.budget, stored.proxy, images, select.proxy_epochs)
        return planned_proxy(images, select, request.profiler, stored.proxy)
    return plan_proxy(images, select, request.profiler)


def _takes_part(request: Request, proxy: Proxy | None) -> bool:
    """Whether a proxy takes a part of the budget that is still to be spent; the time for its epochs is reserved."""
    return proxy is not None and request.recipe.select.proxy_epochs is None


def _training(request: Request, planner: Planner, proxy: Proxy | None) -> Planned | None:
    """The plan of the training: the stored one, unless a checkpoint has its own."""
    if not request.trains:
        return None
    images, stored, budget = request.data.train, request.stored, request.budget
    if stored is not None and stored.train is not None and planner.saved is None:
        assert stored.model is not None
        network = Network(stored.model, stored.options, stored.reasons.get("model", ""), stored.train.side)
        planned = Planned(network, planner.measured(network, images), stored.train, dict(stored.reasons))
    else:
        pending = ("select",) if _takes_part(request, proxy) else ()
        later, count = request.recipe.prune, request.examples
        planned = planner(images, allotment_of(budget, "train", count=count, later=later, pending=pending))
    budget.seconds_per_pass = planned.train.times.predict or None
    return planned


def _recovery(request: Request, training: Planned | None, proxy: Proxy | None) -> TrainPlan | None:
    """The plan for fine-tuning the network once it is pruned."""
    model, stored, recipe = request.model if training is None else training.model, request.stored, request.recipe
    if not request.prunes or model is None:
        return None
    if stored is not None and stored.recovery is not None:
        return stored.recovery
    pending = ["select"] * _takes_part(request, proxy) + ["train"] * (training is not None)
    allotment = allotment_of(request.budget, "prune", count=request.examples, pending=pending)
    return plan_recovery(model, request.data.train, recipe.train, recipe.prune, allotment, request.profiler)
