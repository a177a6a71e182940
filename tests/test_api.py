from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shoestring import Budget, UserError, api, evaluate, execute, load, prune, select, train
from shoestring.budget import WEIGHTS
from shoestring.config.recipe import Grow, Train
from shoestring.data import Images
from shoestring.evaluation.cost import count_macs
from shoestring.models import Preprocessing, build
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


def test_unlabeled_images_are_refused(images, make_images, make_model, context):
    model, bare = make_model(images), _unlabeled(images)
    for call in (
        lambda: evaluate(model, bare),
        lambda: train(bare),
        lambda: train(images, validation=bare),
        lambda: prune(model, bare, macs=0.5, budget=Budget(epochs=1)),
        lambda: prune(model, images, macs=0.5, validation=bare),
        lambda: execute.accuracy(model, bare),
        lambda: select(bare, 10, balance="equal", method="margin"),
    ):
        with pytest.raises(UserError, match="labels"):
            call()


def test_prune_refuses_images_of_other_classes(images, make_images, make_model, context):
    model = make_model(images)
    for classes in (2, 4):
        other = make_images(classes=classes)
        with pytest.raises(UserError, match="the classes of the model are class0, class1, class2, and those of the im"):
            prune(model, other, macs=0.5, budget=Budget(epochs=1), context=context)
        with pytest.raises(UserError, match="those of the validation images class0, class1"):
            prune(model, images, macs=0.5, validation=other, context=context)
    with pytest.raises(UserError, match="there are no images to prune with"):
        prune(model, images[[]], macs=0.5, context=context)


def test_prune_without_a_budget_needs_no_labels(images, make_model, context):
    model = make_model(images)
    small = prune(model, _unlabeled(images), macs=0.5, context=context)
    assert count_macs(small) <= 0.5 * count_macs(model)


def test_prune_reserves_the_predictions_of_its_model(images, make_model, context, monkeypatch):
    model = make_model(images)
    model = replace(model, preprocessing=replace(model.preprocessing, mirror=True))
    reserved = []
    monkeypatch.setattr(Budget, "reserve", lambda self, name, *args, **images: reserved.append((name, images)))
    prune(model, images, macs=0.5, budget=Budget(epochs=6, steps=("prune",)), validation=images, context=context)
    assert reserved[0] == ("evaluate", {"images": 2 * len(images)})


def test_prune_without_a_budget_fits_the_temperature(images, make_model, context):
    model = make_model(images)
    assert prune(model, images, macs=0.5, context=context).temperature == model.temperature
    assert prune(model, images, macs=0.5, validation=images, context=context).temperature != model.temperature


def test_empty_validation_images_leave_the_temperature(images, make_model, context):
    model = make_model(images)
    assert prune(model, images, macs=0.5, validation=images[[]], context=context).temperature == 1.0


def _unlabeled(images: Images) -> Images:
    return Images(images.pixels, None, images.classes, images.ids, fingerprint=images.fingerprint)


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


def test_float16_is_refused_on_the_cpu(images, context):
    with pytest.raises(UserError, match="float16 is for accelerators"):
        api.train(images, model="simplecnn", precision="float16", budget=Budget(epochs=1), context=context)
