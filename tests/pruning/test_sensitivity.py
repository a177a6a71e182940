from __future__ import annotations

import pytest
import torch

from shoestring.channels import drop, trace
from shoestring.errors import UserError
from shoestring.evaluation.cost import count_macs
from shoestring.pruning import measure_sensitivity, select_channels, shrink
from shoestring.pruning.sensitivity import Sensitivity, Trial, predicted_scores


def _batches(count: int = 2) -> list[torch.Tensor]:
    return list(torch.randn(count, 12, 3, 8, 8, generator=torch.Generator().manual_seed(0)))


@pytest.fixture
def model(make_model, make_images):
    return make_model(make_images(channels=3), "simplecnn", width=0.25)


def test_each_layer_is_pruned_alone(model):
    batches, labels = _batches(), [torch.arange(12) % 3] * 2
    found, steps = measure_sensitivity(model, batches, method="magnitude", labels=labels, compensate=False), []
    table = trace(model.module, batches[0][:1])
    assert [one.group for one in found] == list(table.groups)
    with torch.no_grad():
        whole = torch.cat([model.module.eval()(batch) for batch in batches]).log_softmax(1)
    for one in found:
        for trial in one.trials:
            kept = {one.group: torch.arange(trial.kept)}
            assert (trial.macs, trial.params) == (table.macs(kept), table.params(kept))
            assert trial.loss >= -1e-6 and 0 <= trial.changed <= 1 and 0 <= trial.accuracy <= 1
        assert [trial.kept for trial in one.trials] == sorted({trial.kept for trial in one.trials}, reverse=True)
    from shoestring.pruning.criteria.magnitude import magnitude

    one = found[0]
    best = magnitude(model.module, [], table)[one.group].topk(one.trials[1].kept).indices.sort().values
    with torch.no_grad():
        small = torch.cat([drop(model.module, table, {one.group: best}).eval()(b) for b in batches]).log_softmax(1)
    assert one.trials[1].loss == pytest.approx(float((whole.exp() * (whole - small)).sum(1).mean()), rel=1e-3, abs=1e-7)
    measure_sensitivity(model, batches, method="random", progress=steps.append)
    assert steps[-1] == 1.0


def test_predictions_are_compared_on_held_out_images(model):
    own = measure_sensitivity(model, _batches(), method="magnitude")
    other = measure_sensitivity(model, _batches(), method="magnitude", held_out=(_batches(5)[2:], None))
    assert own[0].trials[0].loss != other[0].trials[0].loss
    assert other[0].trials[0].accuracy is None
    rows = own[0].as_rows()
    assert rows[0].keys() == {"group", "channels", "kept", "loss", "changed", "accuracy", "macs", "params"}


def test_images_are_needed(model):
    with pytest.raises(UserError, match="there are none"):
        measure_sensitivity(model, [])


def _sensitivity(name: str, size: int, *losses: tuple[int, float]) -> Sensitivity:
    trials = tuple(Trial(kept, loss, 0.0, None, 0, 0) for kept, loss in losses)
    return Sensitivity(name, size, (name,), trials)


def test_the_search_removes_channels_where_the_predicted_loss_is_least():
    pair = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 1), torch.nn.Conv2d(8, 8, 1), torch.nn.Conv2d(8, 3, 1))
    table = trace(pair, torch.randn(1, 3, 4, 4))
    scores = {"0": torch.arange(8.0), "1": torch.arange(8.0).flip(0)}
    scan = [_sensitivity("0", 8, (6, 0.1), (4, 0.2), (1, 9.0)), _sensitivity("1", 8, (6, 3.0), (4, 6.0), (1, 9.0))]
    new = predicted_scores(scan, scores, table, [])
    assert all(torch.equal(new[name].argsort(), scores[name].argsort()) for name in scores)
    kept = select_channels(new, table, macs=table.macs({"0": torch.arange(4)}), scope="search")
    assert {name: own.tolist() for name, own in kept.items()} == {"0": [4, 5, 6, 7], "1": list(range(8))}


def test_searched_networks_meet_the_target_with_less_loss_than_uniform_ones(make_model, make_images):
    model = make_model(make_images(channels=3, side=8), "vgg8", width=0.25)
    batches = _batches(4)
    for batch in batches:
        model.module.train()(batch)
    model.module.eval()
    with torch.no_grad():
        whole = torch.cat([model.module(batch) for batch in batches]).log_softmax(1)
        losses = []
        for scope in ("search", "uniform"):
            small = shrink(model, batches, method="magnitude", macs=0.5, scope=scope, compensate=False)
            assert count_macs(small) <= 0.5 * count_macs(model)
            cut = torch.cat([small.module.eval()(batch) for batch in batches]).log_softmax(1)
            losses.append(float((whole.exp() * (whole - cut)).sum(1).mean()))
    assert losses[0] < losses[1]
