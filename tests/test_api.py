from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shoestring import Budget, BudgetTooSmall, UserError, api, evaluate, execute, load, prune, select, train
from shoestring.budget import WEIGHTS
from shoestring.config import registry
from shoestring.config.recipe import Grow, Recipe, Select, Train
from shoestring.data.images import Dataset, Images
from shoestring.evaluation.cost import count_macs
from shoestring.models import Model, Preprocessing, build
from shoestring.planning.model import preprocessing
from shoestring.planning.proxy import needs_proxy
from shoestring.planning.selection_method import with_method
from shoestring.reporting.markdown import summary
from shoestring.runs import stages
from shoestring.runs.directory import RunDir
from shoestring.runs.session import begin
from shoestring.training import loop
from shoestring.training.checkpoint import Checkpoint
from trainings import run_train

SMALL = {"model": "convnet", "width": 0.125, "batch_size": 16}


def test_the_steps_share_one_budget(context):
    data = load("digits")
    pool = data.train[:300]
    budget = Budget(epochs=8, steps=("select", "train", "prune"))
    subset = select(pool, 100, method="forgetting", budget=budget, context=context)
    assert budget.spent == pytest.approx(8 * WEIGHTS["select"], abs=0.1)
    assert len(subset) == 100
    assert pool[subset].counts().tolist() == [10] * 10
    model = train(pool[subset], budget=budget, context=context, **SMALL)
    assert budget.spent == pytest.approx(8 * (1 - WEIGHTS["prune"]), abs=0.2)
    small = prune(model, pool[subset], macs=0.5, budget=budget, context=context, settings=Train(batch_size=16))
    assert budget.spent == pytest.approx(8, abs=0.3)
    assert count_macs(small) <= 0.5 * count_macs(model)
    metrics = evaluate(small, data.test)
    assert metrics.split == "test"
    assert metrics.images == len(data.test)
    assert len(metrics.per_class) == 10
    assert metrics.accuracy > 0.15


def test_target_that_prunes_nothing_is_logged(images, context, make_model):
    model, notes = make_model(images), []
    same = prune(model, images, macs="1.0", context=replace(context, log=notes.append))
    assert count_macs(same) == count_macs(model)
    assert any(text.startswith("nothing to prune: the network has") for text in notes)


def test_training_and_recovery_share_one_learning_rate_schedule(images, context):
    rates = []

    def on_progress(step, fraction, values):
        nonlocal rates
        rates.append(values["learning_rate"])

    context = replace(context, on_progress=on_progress)
    budget = Budget(epochs=20, steps={"train": 1, "prune": 3})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_REPORT_SECONDS", 0.0)
        model = train(images, budget=budget, context=context, **SMALL)
        trained, rates = rates, []
        prune(model, images, macs=0.5, budget=budget, context=context, settings=Train(batch_size=16))
    assert trained[0] == pytest.approx(1.0, abs=0.02)
    assert trained[-1] == pytest.approx(0.75, abs=0.02)
    assert rates[0] == pytest.approx(0.75, abs=0.02)
    assert rates[-1] == pytest.approx(0.0, abs=0.02)


def test_training_learns_the_digits(context):
    data = load("digits")
    model = train(data.train[:400], budget=Budget(epochs=12, steps=("train",)), context=context, **SMALL)
    assert evaluate(model, data.test).accuracy > 0.8


def test_method_without_signals_costs_nothing(images, context):
    budget = Budget(epochs=1)
    assert len(select(images, 9, method="random", budget=budget, context=context)) == 9
    assert budget.spent == 0.0


@pytest.mark.parametrize("method", ["forgetting", "diversity"])
def test_select_trains_its_own_proxy(images, context, method):
    notes = []
    images = images[:40]
    context = replace(context, log=notes.append)
    first, again = (
        select(images, 9, method=method, budget=Budget(epochs=9, steps=("select",)), context=context) for _ in range(2)
    )
    assert first.indices.tolist() == again.indices.tolist()
    assert notes[0] == "training a proxy network on 40 images" and notes[1].startswith("proxy: convnet")


def test_proxy_signals_are_saved_and_reused(images, context, tmp_path):
    notes: list[str] = []
    context, file = replace(context, log=notes.append), str(tmp_path / "signals.npz")
    first = select(images, 9, method="margin", signals=file, context=context)
    assert any(note.startswith("proxy") for note in notes)
    notes.clear()
    again = select(images, 9, method="margin", signals=file, budget=Budget(epochs=1e-6), context=context)
    assert notes == [f"signals: read from {file}"]
    assert again.indices.tolist() == first.indices.tolist()


def test_proxy_is_trained_only_where_needed(images, tmp_path):
    assert not needs_proxy(Select("random", 9), images)
    assert needs_proxy(Select("random", 9, within="easiest:0.5"), images)
    assert needs_proxy(with_method(Select("auto", 3), images), images)
    assert not needs_proxy(with_method(Select("auto", 50), images), images)
    for name in registry.names("select"):
        assert needs_proxy(Select(name, 9), images) == (name != "random")
    file = tmp_path / "signals.npz"
    assert needs_proxy(Select("diversity", 9, signals=str(file)), images)
    file.touch()
    assert not needs_proxy(Select("diversity", 9, signals=str(file)), images)


def test_options_reach_the_method(images, context):
    easy, hard = (
        select(images, 60, method="forgetting", order=order, balance="none", context=context)
        for order in ("easiest", "hardest")
    )
    assert easy.indices.tolist() != hard.indices.tolist()
    assert hard.options == {"order": "hardest"}
    with pytest.raises(UserError, match="Did you mean 'order'"):
        select(images, 9, method="forgetting", oder="hardest", context=context)


def test_budget_too_small_for_the_proxy_is_refused(images, context):
    with pytest.raises(BudgetTooSmall, match="--epochs"):
        select(images, 9, method="forgetting", budget=Budget(epochs=0.1), context=context)


def test_prune_without_a_budget_does_not_train(images, make_model, context):
    model = make_model(images, "resnet20", width=0.5)
    small = prune(model, images, params=0.4, context=context)
    params = [sum(weight.numel() for weight in one.module.parameters()) for one in (model, small)]
    assert params[1] <= 0.4 * params[0]
    assert evaluate(small, images, split="x").split == "x"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model": "convnt"}, "Did you mean 'convnet'"),
        ({"grow": "constan"}, "Did you mean 'constant'"),
        ({"widht": 1}, "Did you mean 'width'"),
        ({"patience": 2}, "patience needs validation images"),
    ],
)
def test_invalid_training_settings_are_refused(images, context, settings, message):
    with pytest.raises(UserError, match=message):
        train(images, budget=Budget(epochs=1), context=context, **settings)


def test_early_stopping_uses_validation_images(images, make_images, context):
    settings = {**SMALL, "patience": 1}
    model = train(
        images, validation=make_images(seed=1), budget=Budget(epochs=8, steps=("train",)), context=context, **settings
    )
    assert model.classes == images.classes


def test_train_with_growing_resolution(make_images, context):
    images = make_images(side=16)
    model = train(images, grow="resolution", budget=Budget(epochs=4, steps=("train",)), context=context, **SMALL)
    assert model.preprocessing.resolution == 16


@pytest.mark.parametrize("growth", [{"grow": "resolution,width"}, {"stages": "0.5@0.5,1@1"}])
def test_resolution_and_width_grow_together(make_images, context, growth):
    images = make_images(side=16)
    model = train(images, **growth, budget=Budget(epochs=4, steps=("train",)), context=context, **SMALL)
    assert count_macs(model) == count_macs(
        train(images, budget=Budget(epochs=4, steps=("train",)), context=context, **SMALL)
    )


def test_pretrained_weights_are_refused_when_width_or_depth_grows(images, context, make_model, tmp_path):
    make_model(images, "convnet", width=0.125).save(tmp_path)
    with pytest.raises(UserError, match="starts from scratch: omit --weights"):
        train(images, grow="width", weights=str(tmp_path), budget=Budget(epochs=4), context=context)
    with pytest.raises(UserError, match="starts shallow starts from scratch: omit --weights, or depth in --grow"):
        train(images, grow="resolution,depth", weights=str(tmp_path), budget=Budget(epochs=4), context=context)


def test_interrupted_training_keeps_the_options_of_its_network(make_images, context, tmp_path):
    images = make_images(side=32)
    size = Preprocessing(32, 1, (0.5,), (0.25,))
    build("timm:test_vit", classes=images.classes, preprocessing=size, options={"img_size": 32}).save(tmp_path / "base")
    settings = Train(weights=str(tmp_path / "base"), batch_size=16)

    def interrupt(step, fraction, values):
        if fraction > 0.4:
            raise KeyboardInterrupt

    def run(context):
        budget = Budget(epochs=6, steps=("train",))
        return run_train(images, settings, Grow("constant"), budget=budget, context=context)[0]

    context = replace(context, folder=tmp_path / "state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, "_REPORT_SECONDS", 0.0)
        patch.setattr(Checkpoint, "due", lambda self: True)
        with pytest.raises(KeyboardInterrupt):
            run(replace(context, on_progress=interrupt))
    assert run(context).options == {"img_size": 32}


def test_images_of_other_classes_are_refused(images, make_images, make_model):
    with pytest.raises(UserError, match="those of the validation images class0, class1:"):
        train(images, validation=make_images(classes=2))
    with pytest.raises(UserError, match="one class only"):
        train(make_images(classes=1))
    with pytest.raises(UserError, match="the classes of the model are class0, class1, class2, and those of"):
        evaluate(make_model(images), make_images(classes=2))


@pytest.fixture
def evaluate_before_deadline(make_images, make_model, context, tmp_path) -> Callable[[float], dict[str, Any]]:
    """Evaluate a trained run so many seconds before its deadline at 1000 s; return the results."""

    def evaluate_run(seconds: float) -> dict[str, Any]:
        images = make_images(side=32, mirrored=True)
        data = Dataset("made", images, images[:20], images[20:])
        run = begin(Recipe(time="1000s"), RunDir(tmp_path), context=context, started=time.monotonic() - 1000 + seconds)
        run.reserve(data)
        size = preprocessing(images, mirror=True, tta="crops")
        model = build("simplecnn", classes=images.classes, preprocessing=size, options={"width": 0.125})
        model.save(run.folder / "train")
        return stages.evaluate(run, model, data, images, None)

    return evaluate_run


def test_evaluation_with_time_uses_full_tta(evaluate_before_deadline):
    result = evaluate_before_deadline(500.0)
    assert result["tta"] == {"model": "crops", "mirror": True, "images": {"crops": 40}}
    passes = result["prediction"]["passes"]
    assert 2 <= passes <= 6
    assert result["prediction"]["macs"] == round(passes * result["macs"])
    assert result["latency_batch_ms"] > 0


def test_evaluation_without_time_skips_tta_and_batch_latency(evaluate_before_deadline, tmp_path):
    result = evaluate_before_deadline(0.0)
    assert result["tta"] == {"model": "crops", "mirror": True, "images": {"none": 40}}
    assert result["prediction"]["passes"] == 1
    assert result["prediction"]["macs"] == result["macs"]
    assert result["latency_batch_ms"] is None
    assert (tmp_path / "evaluate" / "predictions.csv").read_text().count("\n") == 41
    dict(summary(result))


def test_reserve_for_evaluation_grows_with_images_and_classes(make_images, context, tmp_path):
    reserves = []
    for count, classes in ((40, 2), (40, 20), (400, 20)):
        images = make_images(count, classes=classes)
        run = begin(Recipe(time="1000s"), RunDir(tmp_path), context=context, started=None)
        run.reserve(Dataset("made", images, images, images))
        reserves.append(run.budget.reserved)
    assert reserves == sorted(set(reserves))


def test_temperature_does_not_depend_on_the_previous_one(images, make_model, context, tmp_path):
    """As when an evaluation was interrupted after saving its temperature."""
    model, temperatures = make_model(images), []
    for previous in (1.0, 7.0):
        run = begin(Recipe(epochs=1), RunDir(tmp_path), context=context, started=None)
        model.save(run.folder / "train")
        result = stages.evaluate(
            run, replace(model, temperature=previous), Dataset("made", images, images, images), images, None
        )
        temperatures.append(result["temperature"])
        assert Model.load(tmp_path / "train").temperature == temperatures[-1]
    assert temperatures[0] == temperatures[1]


def test_nan_loss_is_null_in_the_history(context, tmp_path):
    folder = RunDir(tmp_path / "run")
    run = begin(Recipe(epochs=1), folder, context=context, started=None)
    with folder.begin({}, ""):
        run.context.on_progress("train", 0.5, {"loss": float("nan"), "epoch": 1.0})
    [line] = (folder / "history.jsonl").read_text().splitlines()
    assert json.loads(line, parse_constant=pytest.fail)["loss"] is None


def test_accuracy_without_images_is_refused(images, make_model):
    with pytest.raises(UserError, match="no images"):
        execute.accuracy(make_model(images), images[[]])
    with pytest.raises(UserError, match="no images"):
        evaluate(make_model(images), images[[]])


def test_evaluation_is_deterministic(images, make_model):
    model = make_model(images)
    first, again = evaluate(model, images), evaluate(model, images)
    assert first == again
    assert np.sum(first.confusion) == len(images)


def test_wrongly_labeled_images_are_excluded(context):
    plain = load("digits").train
    labels = plain.targets.copy()
    wrong = np.arange(0, len(plain), 40)
    labels[wrong] = (labels[wrong] + 3) % 10
    images = Images(plain.pixels, labels, plain.classes, plain.ids, fingerprint="some labels are wrong", mirrored=False)
    settings = {"method": "random", "balance": "none", "drop_suspects": True}
    subset = select(images, 1294 - len(wrong), **settings, context=context)
    excluded = np.setdiff1d(np.arange(len(images)), subset.indices)  # includes images left out at random
    assert 0.3 * len(wrong) < subset.left_out < 1.1 * len(wrong)
    assert len(np.intersect1d(excluded, wrong)) > 0.8 * subset.left_out


@pytest.mark.parametrize("balance", [{"balance": "class0=58"}, {"balance": {"class0": 58}}, {}])
def test_impossible_size_is_refused_before_training_a_proxy(images, context, balance):
    with pytest.raises(UserError, match=r"are (needed|requested)"):
        select(
            images, 58 if balance else 61, drop_suspects=True, budget=Budget(epochs=1e-6), context=context, **balance
        )


def test_select_accepts_seeds_subsets_and_balances_from_python(images, tmp_path):
    first, again, other = (select(images, 9, method="random", seed=seed) for seed in (3, 3, 4))
    assert first.indices.tolist() == again.indices.tolist() != other.indices.tolist()
    first.save(tmp_path / "first.json")
    for name in (tmp_path / "first.json", str(tmp_path / "first.json"), first):
        assert select(images, 12, method="random", already=name).indices[:9].tolist() == first.indices.tolist()
    counts = images[select(images, 9, method="random", balance={"class1": 7})].counts()
    assert counts.tolist() == [1, 7, 1]
    for settings, message in (
        ({"subset": "first.json"}, "a finished selection"),
        ({"features": np.ones((60, 2))}, "features must be text"),
        ({"balance": {"class1": -1}}, "is not a number of images"),
    ):
        with pytest.raises(UserError, match=message):
            select(images, 9, method="random", **settings)
    with pytest.raises(UserError, match="no images"):
        select(images[[]], 1, method="random")


def test_float16_is_refused_on_the_cpu(images, context):
    with pytest.raises(UserError, match="float16 is for accelerators"):
        api.train(images, model="simplecnn", precision="float16", budget=Budget(epochs=1), context=context)
