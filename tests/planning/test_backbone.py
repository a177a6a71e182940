"""When the model "auto" is a pretrained network, and by which features images are selected for it."""

from __future__ import annotations

import pytest

from shoestring.budget import Budget
from shoestring.config.plan import StepTimes
from shoestring.config.recipe import Grow, Prune, Recipe, Select, Train
from shoestring.config.units import Size
from shoestring.data.images import Dataset
from shoestring.planning import backbone
from shoestring.planning.backbone import choose_backbone
from shoestring.planning.model import Network, build_network
from shoestring.planning.plan import allotment_of
from shoestring.planning.profiling import Profile, Profiler
from shoestring.planning.resolve import resolve

LITE0 = "timm:tf_efficientnet_lite0"


@pytest.fixture
def step(monkeypatch):
    """Sets the seconds of a training step per image, as measured."""

    def takes(seconds: float) -> None:
        monkeypatch.setattr(Profiler, "_measure", lambda *_: Profile("float32", StepTimes(seconds, seconds / 3)))

    return takes


def _chosen(images, budget, context, **recipe) -> tuple[str, str]:
    allotment = allotment_of(budget, "train", count=len(images))
    settings, reason = choose_backbone(Recipe(**recipe), images, allotment, Profiler(budget, context))
    assert (settings.weights == "pretrained") == (settings.model != "auto")
    return settings.model, reason


def test_tiny_images_are_learned_from_scratch(make_images, context):
    model, reason = _chosen(make_images(side=8), Budget(600), context)
    assert model == "auto" and "8 x 8 pixels" in reason


@pytest.mark.parametrize("budget", [{"time": 5}, {"epochs": 1}, {"flops": 1e9}])
def test_photos_are_learned_by_a_pretrained_network_in_any_budget(make_images, context, budget):
    assert _chosen(make_images(side=64, channels=3), Budget(**budget), context)[0] == LITE0


@pytest.mark.parametrize(("seconds", "model"), [(10.0, LITE0), (30.0, "auto")])
def test_small_images_need_time_to_fine_tune(make_images, context, step, seconds, model):
    step(seconds)  # of 60 images, for half of which there must be time in 600 seconds
    assert _chosen(make_images(60, side=32, channels=3), Budget(600, steps=("train",)), context)[0] == model


@pytest.mark.parametrize(("seconds", "model"), [(7.0, LITE0), (8.0, "auto")])
def test_many_small_images_need_an_epoch_after_the_features_for_the_head(
    make_images, context, step, monkeypatch, seconds, model
):
    monkeypatch.setattr(backbone, "_MAX_IMAGES", 59)
    step(seconds)  # of 60 images, each of which may take 10 seconds, a third of a step for its features
    chosen, reason = _chosen(make_images(60, side=32, channels=3), Budget(600, steps=("train",)), context)
    assert chosen == model and (model == LITE0 or "for only 0.92 epochs" in reason)


def test_no_network_is_loaded_where_there_is_no_time_for_any(make_images, context, monkeypatch):
    monkeypatch.setattr(backbone, "_candidates", lambda **_: pytest.fail("no network is needed"))
    monkeypatch.setattr(backbone, "cpu_flops", lambda: 1e8)
    model, reason = _chosen(make_images(60, side=32, channels=3), Budget(20), context)
    assert model == "auto" and reason == "there is no time to fine-tune a pretrained network"


def test_many_small_images_are_learned_from_scratch_for_epochs(make_images, context, monkeypatch):
    images = make_images(60, side=32, channels=3)
    assert _chosen(images, Budget(epochs=3), context)[0] == LITE0
    monkeypatch.setattr(backbone, "_MAX_IMAGES", 59)
    assert _chosen(images, Budget(epochs=3), context)[0] == "auto"


@pytest.mark.parametrize(
    "recipe",
    [
        {"train": Train(weights="none")},
        {"train": Train(width=0.5)},
        {"grow": Grow("resolution")},
    ],
)
def test_settings_of_a_network_from_scratch_decide(make_images, context, recipe):
    assert _chosen(make_images(side=64, channels=3), Budget(600), context, **recipe) == ("auto", "as requested")


def test_without_installed_weights_the_network_is_new(make_images, context, monkeypatch):
    monkeypatch.setattr(backbone, "BACKBONES", ())
    assert _chosen(make_images(side=64, channels=3), Budget(600), context)[0] == "auto"


@pytest.mark.parametrize(("seconds", "model"), [(0.01, "timm:mobilenetv4_conv_medium"), (1.0, LITE0), (1e4, "auto")])
def test_a_better_network_is_downloaded_if_allowed_and_if_there_is_time(make_images, context, step, seconds, model):
    step(seconds)  # per image of 60 in 600 seconds
    images, budget = make_images(60, side=32, channels=3), Budget(600, steps=("train",))
    allowed = Train(download=True)
    assert _chosen(images, budget, context, train=allowed)[0] == model
    assert _chosen(images, budget, context)[0] == (model if model == "auto" else LITE0)


def test_images_are_selected_by_the_features_of_the_network_to_train(make_images, context, step):
    step(1e-3)
    data = Dataset.of(make_images(60, side=64, channels=3))

    def plan(**select):
        recipe = Recipe(select=Select(examples=12, **select))
        return resolve(recipe, data, Budget(600, steps=recipe.steps), context).plan

    auto = plan()
    assert (auto.model, auto.weights, auto.select, auto.features, auto.proxy) == (
        LITE0,
        "pretrained",
        "herding",
        LITE0,
        None,
    )
    assert plan(method="k_center").features == LITE0
    assert plan(method="random").features is None
    forgetting = plan(method="forgetting")
    assert forgetting.features is None and forgetting.proxy is not None


def test_without_time_for_features_the_selection_is_random(make_images, context, step):
    step(3.0)  # and a prediction takes one
    recipe = Recipe(select=Select(examples=12))
    data = Dataset.of(make_images(300, side=64, channels=3))
    plan = resolve(recipe, data, Budget(600, steps=recipe.steps), context).plan
    assert (plan.select, plan.features) == ("random", None)
    assert "no time" in plan.reasons["select"]


def test_a_resumed_run_keeps_its_network_and_features(make_images, context, step):
    step(1e-3)
    data, recipe = Dataset.of(make_images(60, side=64, channels=3)), Recipe(select=Select(examples=12))
    first = resolve(recipe, data, Budget(600, steps=recipe.steps), context)
    step(1e9)
    again = resolve(recipe, data, Budget(600, steps=recipe.steps), context, stored=first.plan)
    assert (again.plan.model, again.plan.weights, again.plan.features) == (LITE0, "pretrained", LITE0)
    assert again.plan.train == first.plan.train


@pytest.mark.parametrize(("weights", "optimizer"), [("pretrained", "adamw"), ("none", "muon")])
def test_a_finished_network_recovers_as_it_was_trained(make_images, context, weights, optimizer):
    images = make_images(60, side=32, channels=3)
    network = Network(LITE0, side=96)
    settings = Train(model=LITE0, weights=weights)
    model = build_network(network, images, settings, seed=0)
    recipe = Recipe(prune=Prune(macs=Size.parse("0.5", what="--macs")))
    budget = Budget(epochs=9, steps=("prune",))
    recovery = resolve(recipe, Dataset.of(images), budget, context, steps=("prune",), model=model).recovery
    assert recovery is not None and recovery.optimizer == optimizer
    assert (recovery.fine_tune is not None) == (weights == "pretrained")
    assert recovery.learning_rate == pytest.approx(3e-4 if weights == "pretrained" else 0.2, rel=0.2)
