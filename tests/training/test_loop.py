from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from shoestring.budget import Budget
from shoestring.config.recipe import Train
from shoestring.data.batches import Batches
from shoestring.errors import BudgetTooSmall, UserError
from shoestring.models.model import Model
from shoestring.training.dynamics import Recorder
from shoestring.training.early_stopping import Score
from shoestring.training.progress import TrainingState
from trainings import fit, interrupt_and_resume

SETTINGS = Train(batch_size=10, label_smoothing=0.0)


def _weights(model: Model) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.module.state_dict().items()}


def _same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(value, other[name]) for name, value in one.items())


def _accuracy(model: Model, images) -> float:
    model.module.eval()
    with torch.no_grad():
        found = model.module(model.prepare(torch.from_numpy(images.pixels))).argmax(1).numpy()
    model.module.train()
    return float((found == images.targets).mean())


@pytest.mark.parametrize("name", ["simplecnn", "convnet"])
def test_it_learns_classes_that_are_easy_to_tell_apart(images, make_model, context, name):
    model = make_model(images, name, width=0.25)
    window = Budget(epochs=15, steps=("train",)).window("train")
    went = fit(model, images, window, settings=replace(SETTINGS, flip=False), context=context)
    assert _accuracy(model, images) > 0.95
    assert (went.steps, went.epochs, went.batch_size, went.ended) == (90, 15.0, 10, "budget")
    assert window.fraction == pytest.approx(1.0)


def test_the_changes_of_images_follow_the_training(images, make_model, context, monkeypatch):
    drawn, draw = [], Batches.draw

    def noted(batches: Batches, **how):
        drawn.append(batches.augment.at(how["progress"]))
        return draw(batches, **how)

    monkeypatch.setattr(Batches, "draw", noted)
    window = Budget(epochs=4, steps=("train",)).window("train")
    settings = replace(SETTINGS, jitter=1.0, cutout=0.5, strength="1,1,0")
    fit(make_model(images, "simplecnn"), images, window, settings=settings, context=context)
    jitter = [change.jitter for change in drawn]
    half = len(drawn) // 2
    assert jitter[:half] == [1.0] * half
    assert jitter[half:] == sorted(jitter[half:], reverse=True) and 0 < jitter[-1] < 0.1
    assert [2 * change.cutout for change in drawn] == pytest.approx(jitter)


@pytest.mark.parametrize("recorded", [False, True])
def test_mixed_images_teach_and_recorded_ones_are_whole(images, make_model, context, monkeypatch, recorded):
    labels, draw = [], Batches.draw

    def noted(batches: Batches, **how):
        batch = draw(batches, **how)
        labels.append(batch.labels)
        return batch

    monkeypatch.setattr(Batches, "draw", noted)
    model, record = make_model(images, "convnet", width=0.25), Recorder(len(images)) if recorded else None
    window = Budget(epochs=10, steps=("train",)).window("train")
    fit(model, images, window, settings=replace(SETTINGS, mixup=1.0), context=context, record=record)
    assert {found.ndim for found in labels[-50:]} == {1 if recorded else 2}
    assert _accuracy(model, images) > 0.9


@pytest.mark.parametrize("optimiser", ["muon", "sgd", "adamw"])
def test_the_same_run_gives_the_same_weights_to_the_bit(images, make_model, context, optimiser):
    def run(seed: int) -> dict[str, torch.Tensor]:
        model = make_model(images, "convnet")
        window = Budget(epochs=2, steps=("train",)).window("train")
        settings = replace(SETTINGS, optimizer=optimiser)
        fit(model, images, window, settings=settings, context=replace(context, seed=seed))
        return _weights(model)

    first = run(0)
    assert _same(first, run(0))
    assert not _same(first, run(1))


@pytest.mark.parametrize("optimiser", ["muon", "sgd", "adamw"])
@pytest.mark.parametrize("stop", [2, 13])
def test_interrupted_training_resumes_exactly(images, make_model, context, tmp_path, every_step, optimiser, stop):
    settings = replace(SETTINGS, optimizer=optimiser, dropout=None)

    def run(context) -> tuple[dict[str, torch.Tensor], Recorder, Budget]:
        model, record = make_model(images, "convnet"), Recorder(len(images))
        budget = Budget(epochs=3, steps=("train",))
        summary = fit(model, images, budget.window("train"), settings=settings, context=context, record=record)
        assert summary.steps == 18
        return _weights(model), record, budget

    expected, record, _ = run(context)
    _, (weights, again, budget), notes = interrupt_and_resume(run, replace(context, folder=tmp_path), stop)
    assert notes == [f"resuming after {stop - 1} steps"]
    assert budget.spent == pytest.approx(3.0)
    assert _same(weights, expected)
    assert all(torch.equal(value, again.state()[name]) for name, value in record.state().items())


def test_the_learning_rate_is_zero_at_the_end(images, make_model, context, every_step):
    told = []
    around = replace(
        context, on_progress=lambda step, fraction, values: told.append((step, fraction, values["learning_rate"]))
    )
    model = make_model(images)
    window = Budget(epochs=3, steps=("train",)).window("train")
    settings = replace(SETTINGS, optimizer="adamw")
    went = fit(model, images, window, settings=settings, context=around)
    assert told[-1] == ("train", 1.0, 0.0)
    assert went.final_learning_rate == pytest.approx((1 - 17.5 / 18) / 0.85)
    peak = max(rate for *_, rate in told)
    assert 0.9 < peak <= 1.0
    assert [fraction for _, fraction, _ in told] == pytest.approx([*(np.arange(1, 19) / 18), 1.0])


class _Greedy(torch.nn.Module):
    """Runs out of memory above so many images."""

    def __init__(self, inner: torch.nn.Module, most: int) -> None:
        super().__init__()
        self.inner, self.most = inner, most

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        if self.training and len(images) > self.most:
            raise torch.OutOfMemoryError("no room")
        return self.inner(images)


def test_a_step_that_runs_out_of_memory_halves_the_batch_and_says_so(images, make_model, context):
    model = make_model(images)
    notes: list[str] = []
    greedy = replace(model, module=_Greedy(model.module, 6))
    window = Budget(epochs=4, steps=("train",)).window("train")
    settings = replace(SETTINGS, batch_size=20)
    went = fit(greedy, images, window, settings=settings, context=replace(context, log=notes.append))
    assert notes == [f"out of memory: continuing with a batch size of {size}" for size in (10, 5)]
    assert went.batch_size == 5
    assert went.epochs == 4.0


def test_other_errors_and_a_batch_of_one_are_passed_on(images, make_model, context):
    model = make_model(images)
    window = Budget(epochs=4, steps=("train",)).window("train")
    with pytest.raises(torch.OutOfMemoryError):
        greedy = replace(model, module=_Greedy(model.module, 0))
        fit(greedy, images, window, settings=SETTINGS, context=context)
    model.module.register_forward_pre_hook(lambda module, _: 1 / 0 if module.training else None)
    with pytest.raises(ZeroDivisionError):
        fit(model, images, Budget(epochs=4).window("train"), settings=SETTINGS, context=context)


def test_a_loss_that_is_no_number_is_the_users_error(images, make_model, context):
    model = make_model(images)
    settings = replace(SETTINGS, optimizer="sgd", learning_rate=1e30)
    window = Budget(epochs=3, steps=("train",)).window("train")
    with pytest.raises(UserError, match=r"training diverged .* lower --learning-rate"):
        fit(model, images, window, settings=settings, context=context)


def test_patience_stops_and_keeps_the_best(images, make_model, context):
    scores, kept = iter([0.2, 0.5, 0.4, 0.5, 0.9]), []
    window = Budget(epochs=20, steps=("train",)).window("train")

    def score(model: Model) -> float:
        kept.append(_weights(model))
        return next(scores)

    model = make_model(images)
    settings = replace(SETTINGS, patience=2)
    went = fit(model, images, window, settings=settings, context=context, score=Score(score))
    assert went.ended == "patience"
    assert len(kept) == 4
    assert 0.15 < window.fraction < 0.3
    assert _same(_weights(model), kept[1])


@pytest.mark.parametrize("averaging", [True, False])
def test_the_final_weights_are_the_averaged_ones(images, make_model, context, monkeypatch, averaging):
    steps, step = [], TrainingState.step

    def noted(state: TrainingState, *args, **settings):
        loss = step(state, *args, **settings)
        steps.append({name: value.clone() for name, value in state.model.module.state_dict().items()})
        return loss

    monkeypatch.setattr(TrainingState, "step", noted)
    model = make_model(images)
    expected = _weights(model)
    window = Budget(epochs=12, steps=("train",)).window("train")
    fit(model, images, window, settings=replace(SETTINGS, ema=averaging), context=context)
    for number, weights in enumerate(steps, 1):
        if number % 2 == 0:  # every second step, over the last twentieth of the steps so far
            share = min(1.0, 2 / (0.05 * number))
            expected = {name: (1 - share) * expected[name] + share * value for name, value in weights.items()}
    final, last = _weights(model), steps[-1]
    assert len(steps) == 72
    if averaging:
        assert not _same(final, last)
        assert all(torch.allclose(final[name], value, atol=1e-6) for name, value in expected.items())
    else:
        assert _same(final, last)


def test_without_patience_nothing_is_scored(images, make_model, context):
    window = Budget(epochs=2, steps=("train",)).window("train")
    fit(
        make_model(images),
        images,
        window,
        settings=SETTINGS,
        context=context,
        score=Score(lambda model: pytest.fail("nobody asked")),
    )


@pytest.mark.parametrize("steps", [("train",), ("select", "train", "prune")])
@pytest.mark.parametrize("unit", ["epochs", "flops"])
def test_a_budget_too_small_names_the_least_that_works(images, make_model, context, unit, steps):
    tiny = Budget(**{unit: 0.5}, steps=steps)
    model = make_model(images)
    before = _weights(model)
    with pytest.raises(BudgetTooSmall, match=f"--{unit} 0.5 is too small: 10 training steps") as caught:
        fit(model, images, tiny.window(steps[0]), settings=SETTINGS, context=context)
    assert _same(_weights(model), before)
    enough = Budget(**{unit: caught.value.least}, steps=steps)
    assert fit(model, images, enough.window(steps[0]), settings=SETTINGS, context=context).steps >= 10
