"""Every registered method follows its protocol; a new method is tested as soon as it is registered."""

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
from shoestring.pruning.scoring import score_channels
from shoestring.selection import Pool, Signals, Strategy, select_subset

SELECT, GROW, PRUNE, MODELS = (registry.names(kind) for kind in ("select", "grow", "prune", "models"))


def _pool(images) -> Pool:
    rng, count = np.random.default_rng(0), len(images)
    features = rng.normal(size=(count, 8)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    confidence, error, gradient = (rng.random((5, count)).astype(np.float32) for _ in range(3))
    confidence[-1, :7] = error[-1, :7] = gradient[-1, :7] = np.nan  # the last epoch is incomplete
    probabilities = rng.dirichlet(np.ones(len(images.classes)), count).astype(np.float32)
    margin, final = rng.normal(size=(2, count))
    forgotten, learned = rng.integers(0, 4, count), rng.random(count) < 0.9
    signals = Signals(features, forgotten, learned, margin, final, confidence, error, gradient, probabilities)
    return Pool(images, lambda: signals)


@pytest.mark.parametrize(("kind", "name"), [(k, n) for k in registry.PROTOCOLS for n in registry.names(k)])
def test_has_a_summary_and_options_with_types_and_defaults(kind, name):
    method = registry.find(kind, name)
    assert len(registry.summary(kind, name)) > 20
    for option in registry.options(kind, name).values():
        assert option.default is not option.type
        assert option.name in method.__annotations__


@pytest.mark.parametrize("name", SELECT)
def test_selection_methods_return_distinct_indices_of_the_pool(name, images):
    method, pool = registry.find("select", name), _pool(images)
    for size in (1, 7, 59, 60):
        selected = method(pool, size, rng=np.random.default_rng(0))
        assert selected.shape == (size,)
        assert selected.dtype == np.int64
        assert len(set(selected.tolist())) == size
        assert selected.min() >= 0 and selected.max() < len(pool)


@pytest.mark.parametrize("name", SELECT)
def test_selection_methods_depend_on_their_seed_only(name, images):
    method = registry.find("select", name)
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    first, again = (method(_pool(images), 20, rng=np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, again)
    assert np.array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


@pytest.mark.parametrize("balance", ["equal", "proportional", "none"])
@pytest.mark.parametrize("method", SELECT)
def test_selection_methods_do_not_modify_the_pool_and_accept_classes_with_one_image(method, balance, images):
    pool = _pool(images[:5])  # two, two and one image
    before = [pool.features.copy(), pool.margin.copy(), pool.forgotten.copy()]
    for size in (3, 5):
        subset = select_subset(pool, size, Strategy(method), balance=balance)
        assert len(set(subset.indices.tolist())) == size
    assert all(np.array_equal(a, b) for a, b in zip(before, [pool.features, pool.margin, pool.forgotten]))


@pytest.mark.parametrize("method", GROW)
@given(spent=st.floats(0, 1))
def test_growth_schedules_are_pure_and_return_a_stage(method, spent):
    schedule = registry.find("grow", method)
    stage = schedule(spent)
    assert isinstance(stage, Stage)
    assert 0 < stage.resolution <= 1 and 0 < stage.width <= 1 and 0 < stage.depth <= 1
    assert schedule(spent) == stage


@pytest.mark.parametrize("method", GROW)
def test_growth_schedules_never_shrink_and_end_at_full_size(method):
    stages = [registry.find("grow", method)(spent / 100) for spent in range(101)]
    assert all(one.minimum(other) == one for one, other in pairwise(stages))
    assert stages[-1] == Stage()


@pytest.mark.parametrize("network", ["convnet", "resnet20", "vgg8"])
@pytest.mark.parametrize("method", PRUNE)
def test_pruning_criteria_score_every_channel_and_the_pruned_network_works(method, network, make_images, make_model):
    model = make_model(make_images(side=16, channels=3), network, width=0.25)
    batch = torch.rand(4, 3, 16, 16)
    table = trace(model.module, batch, verify=False)
    before = {name: value.clone() for name, value in model.module.state_dict().items()}
    scores = score_channels(model.module, [batch], table, method=method, options={}, labels=[torch.arange(4) % 3])
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
def test_models_run_forward_and_backward(name, side, channels):
    if name == "timm":
        pytest.skip("timm models have names of their own")
    torch.manual_seed(0)
    module = registry.find("models", name)(4, channels=channels, width=0.125)
    logits = module(torch.randn(2, channels, side, side))
    assert logits.shape == (2, 4)
    torch.nn.functional.cross_entropy(logits, torch.tensor([0, 3])).backward()
    gradients = [weight.grad for weight in module.parameters() if weight.requires_grad]
    assert gradients and all(one is not None and one.isfinite().all() for one in gradients)
