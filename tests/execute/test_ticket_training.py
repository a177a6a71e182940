"""One training of a masked network."""

from __future__ import annotations

import pytest
import torch

from shoestring.budget import Budget
from shoestring.config.recipe import Recipe, Train
from shoestring.config.tickets import Rewind
from shoestring.data import Dataset
from shoestring.execute.ticket_training import Constraint, Moment, Part, copy_state, train_masked
from shoestring.planning.resolve import resolve

SETTINGS = Train(model="simplecnn", width=0.125, batch_size=20, optimizer="adamw")


@pytest.fixture
def train(images, make_model, context):
    """Train a small network for some epochs of three steps, from a moment, under a mask."""
    budget = Budget(epochs=8, steps=("train",))
    resolved = resolve(Recipe(train=SETTINGS), Dataset.of(images), budget, context, steps=("train",))
    assert resolved.training is not None
    plan, model = resolved.training.train, make_model(images)

    def run(start=None, mask=None, rewind=None, epochs=8.0):
        start = start or Moment(copy_state(model.module))
        part = Part(Budget(epochs=epochs, steps=("train",)), context, rewind)
        return model, *train_masked(model, start, mask, images, plan, part)

    return run


def test_removed_weights_stay_zero_and_the_others_are_trained(train, images, make_model):
    weight = make_model(images).module.conv1.weight
    mask = {"conv1.weight": torch.rand(weight.shape, generator=torch.Generator().manual_seed(0)) < 0.5}
    model, summary, moment = train(mask=mask)
    own = mask["conv1.weight"]
    assert summary.steps == 24 and moment is None
    assert (model.module.conv1.weight[~own] == 0).all() and (model.module.conv1.weight[own] != 0).all()


@pytest.mark.parametrize(("rewind", "steps"), [(Rewind(steps=3), 3), (Rewind(fraction=0.25), 6)])
def test_weights_are_kept_at_the_moment_to_rewind_to(train, rewind, steps):
    model, _, moment = train(rewind=rewind)
    assert moment.fraction == pytest.approx(steps / 24)
    assert not torch.equal(moment.state["head.weight"], model.module.head.weight)
    _, rest, _ = train(start=moment, epochs=8 * (1 - moment.fraction))
    assert rest.steps == 24 - steps


def test_a_mask_is_applied_at_once(images, make_model):
    module = make_model(images).module
    Constraint(module, {"head.weight": torch.zeros_like(module.head.weight, dtype=torch.bool)})
    assert (module.head.weight == 0).all()
