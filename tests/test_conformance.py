"""Every registered method keeps its protocol; a new one is tested by being there."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from shoestring.channels import drop, trace
from shoestring.config import registry
from shoestring.growth import Stage
from shoestring.pruning import select_channels
from shoestring.selection import Pool, Signals, choose

SELECT, GROW, PRUNE, MODELS = (registry.names(kind) for kind in ("select", "grow", "prune", "models"))


def _pool(images) -> Pool:
    rng, count = np.random.default_rng(0), len(images)
    features = rng.normal(size=(count, 8)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    confidence, error, gradient = (rng.random((5, count)).astype(np.float32) for _ in range(3))
    confidence[-1, :7] = error[-1, :7] = gradient[-1, :7] = np.nan  # the last epoch is not over
    shares = rng.dirichlet(np.ones(len(images.classes)), count).astype(np.float32)
    margin, final = rng.normal(size=(2, count))
    forgotten, learnt = rng.integers(0, 4, count), rng.random(count) < 0.9
    signals = Signals(features, forgotten, learnt, margin, final, confidence, error, gradient, shares)
    return Pool(images, lambda: signals)


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in registry.PROTOCOLS for n in registry.names(k)])
def test_has_a_summary_and_options_with_types_and_defaults(kind, name):
    method = registry.find(kind, name)
    assert len(registry.summary(kind, name)) > 20
    for option in registry.options(kind, name).values():
        assert option.default is not option.type
        assert option.name in method.__annotations__


@pytest.mark.parametrize("method", SELECT)
def test_strategies_give_distinct_rows_of_the_pool(method, images):
    strategy, pool = registry.find("select", method), _pool(images)
    for size in (1, 7, 59, 60):
        found = strategy(pool, size, rng=np.random.default_rng(0))
        assert found.shape == (size,)
        assert found.dtype == np.int64
        assert len(set(found.tolist())) == size
        assert found.min() >= 0 and found.max() < len(pool)


@pytest.mark.parametrize("method", SELECT)
def test_strategies_depend_on_their_seed_and_on_nothing_else(method, images):
    strategy = registry.find("select", method)
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first, again = (strategy(_pool(images), 20, rng=np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, again)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


@pytest.mark.parametrize("balance", ["equal", "proportional", "none"])
@pytest.mark.parametrize("method", SELECT)
def test_strategies_leave_the_pool_as_it_is_and_take_classes_of_one_image(method, balance, images):
    few = images[:5]  # two, two and one image
    pool = _pool(few)
    known = [pool.features.copy(), pool.margin.copy(), pool.forgotten.copy()]
    for size in (3, 5):
        chosen = choose(pool, size, method=method, balance=balance)
        assert len(set(chosen.indices.tolist())) == size
    assert all(np.array_equal(a, b) for a, b in zip(known, [pool.features, pool.margin, pool.forgotten]))


@pytest.mark.parametrize("method", GROW)
@given(spent=st.floats(0, 1))
def test_schedules_are_pure_and_give_a_stage(method, spent):
    schedule = registry.find("grow", method)
    stage = schedule(spent)
    assert isinstance(stage, Stage)
    assert 0 < stage.resolution <= 1 and 0 < stage.width <= 1 and 0 < stage.depth <= 1
    assert schedule(spent) == stage


@pytest.mark.parametrize("method", GROW)
def test_schedules_never_shrink_and_end_with_the_whole_problem(method):
    stages = [registry.find("grow", method)(spent / 100) for spent in range(101)]
    assert all(one.minimum(other) == one for one, other in pairwise(stages))
    assert stages[-1] == Stage()


@pytest.mark.parametrize("network", ["convnet", "resnet20", "vgg8"])
@pytest.mark.parametrize("method", PRUNE)
def test_criteria_score_every_channel_and_the_cut_network_works(method, network, make_images, make_model):
    model = make_model(make_images(side=16, channels=3), network, width=0.25)
    batch = torch.rand(4, 3, 16, 16)
    table = trace(model.module, batch)
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    scores = registry.find("prune", method)(model.module, [batch], table)
    assert {name: tuple(own.shape) for name, own in scores.items()} == {n: (g.size,) for n, g in table.groups.items()}
    assert all(own.isfinite().all() for own in scores.values())
    assert all(torch.equal(value, before[name]) for name, value in model.module.state_dict().items())
    small = drop(model.module, table, select_channels(scores, table, params=0.5 * table.params()))
    assert sum(weight.numel() for weight in small.parameters()) <= 0.5 * table.params()
    assert small.eval()(batch).isfinite().all()
    small.train()(batch).sum().backward()


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("side", [8, 32])
@pytest.mark.parametrize("name", MODELS)
def test_networks_run_forward_and_backward(name, side, channels):
    if name == "timm":
        pytest.skip("timm's networks are taken by their own names")
    torch.manual_seed(0)
    module = registry.find("models", name)(4, channels=channels, width=0.125)
    logits = module(torch.randn(2, channels, side, side))
    assert logits.shape == (2, 4)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 3])).backward()
    gradients = [weight.grad for weight in module.parameters() if weight.requires_grad]
    assert gradients and all(one is not None and one.isfinite().all() for one in gradients)
