from __future__ import annotations

import pytest
import torch
from torch import nn

from networks import Residual
from shoestring.channels import Table, trace
from shoestring.config import registry
from shoestring.errors import UserError
from shoestring.evaluation.cost import count_macs, count_params
from shoestring.models import Model, Preprocessing, build
from shoestring.models.batchnorm import reestimate_batchnorm
from shoestring.pruning import shrink
from shoestring.pruning.criteria.magnitude import magnitude
from shoestring.pruning.criteria.random import random


def _model(name: str = "resnet20", **options) -> Model:
    torch.manual_seed(0)
    size = Preprocessing(16, 3, (0.5,) * 3, (0.25,) * 3)
    return build(name, classes=list("abcde"), preprocessing=size, options=options)


def _pair() -> tuple[nn.Sequential, Table]:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 2, 1)).eval()
    return module, trace(module, torch.zeros(1, 3, 4, 4))


@pytest.mark.parametrize("method", registry.names("prune"))
def test_every_criterion_scores_every_channel(method):
    model = _model()
    table = trace(model.module, torch.zeros(1, 3, 16, 16), verify=False)
    batches = [torch.randn(4, 3, 16, 16)]
    scores = registry.find("prune", method)(model.module, batches, table)
    assert {name: own.shape for name, own in scores.items()} == {n: (g.size,) for n, g in table.groups.items()}
    assert all(own.isfinite().all() for own in scores.values())
    again = registry.find("prune", method)(model.module, batches, table)
    assert all(torch.equal(own, again[name]) for name, own in scores.items())
    assert registry.summary("prune", method)


@pytest.mark.parametrize("method", registry.names("prune"))
def test_every_criterion_shrinks_a_model(method):
    model = _model()
    before = model.module.state_dict()["conv1.weight"].clone()
    small = shrink(model, [torch.randn(4, 3, 16, 16)], method=method, macs=0.5)
    images = small.prepare(torch.zeros(2, 16, 16, 3, dtype=torch.uint8))
    assert 0.47 * count_macs(model) <= count_macs(small) <= 0.5 * count_macs(model)
    assert small.module(images).shape == (2, 5)
    assert (small.name, small.classes, small.preprocessing) == (model.name, model.classes, model.preprocessing)
    assert torch.equal(model.module.state_dict()["conv1.weight"], before)


def test_magnitude_is_the_norm_of_the_filter_times_that_of_the_consuming_weights():
    module, table = _pair()
    filters, consumers = module[0].weight.detach()[:, :, 0, 0], module[3].weight.detach()[:, :, 0, 0].T
    for norm, p in (("l2", 2), ("l1", 1)):
        produced, consumed = filters.norm(p=p, dim=1), consumers.norm(p=p, dim=1)
        expected = produced / produced.mean() * consumed / consumed.mean()
        assert torch.allclose(magnitude(module, [], table, norm=norm)["0"], expected)


def test_magnitude_sums_over_all_layers_of_a_channel():
    module = Residual(nn.Identity())
    table = trace(module, torch.zeros(1, 3, 4, 4))
    produced = [layer.weight.detach()[:, :, 0, 0].norm(dim=1) for layer in (module.one, module.two)]
    consumed = [layer.weight.detach()[:, :, 0, 0].norm(dim=0) for layer in (module.two, module.last)]
    expected = sum(own / own.mean() for own in produced) * sum(own / own.mean() for own in consumed)
    assert torch.allclose(magnitude(module, [], table)["one"], expected)


def test_magnitude_ignores_fixed_filters():
    model = _model("convnet", width=0.25)
    table = trace(model.module, torch.zeros(1, 3, 16, 16))
    before = magnitude(model.module, [], table)["whitening"]
    with torch.no_grad():
        model.module.whitening.weight.mul_(torch.rand(24, 1, 1, 1))
    assert torch.equal(magnitude(model.module, [], table)["whitening"], before)


def test_random_depends_on_its_seed():
    module, table = _pair()
    first, same, other = (random(module, [], table, seed=seed)["0"] for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_targets_are_fractions_counts_or_strings():
    model = _model("simplecnn")
    half = count_params(model.module) / 2
    for params, target in [(0.5, half), ("0.5", half), ("20k", 2e4), (20_000, 2e4)]:
        assert 0.97 * target <= count_params(shrink(model, [], params=params).module) <= target


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "needs a target"),
        ({"macs": "half"}, "'half' is not a size for macs"),
        ({"params": -1}, "is not a size for params"),
        ({"macs": 1e-6}, "cannot be reached"),
        ({"macs": 1.5}, "'1.5' is not a size for macs: write a fraction up to 1 .* or a count"),
        ({"macs": "2"}, "'2' is not a size for macs"),
        ({"params": 50}, "'50' is not a size for params"),
        ({"params": "999"}, "'999' is not a size for params"),
        ({"params": "0.0005k"}, "cannot be reached"),
        ({"macs": 0.5, "method": "magnitud"}, "Did you mean 'magnitude'"),
        ({"macs": 0.5, "nrom": "l1"}, "Did you mean 'norm'"),
        ({"macs": 0.5, "scope": "globl"}, "Did you mean 'global'"),
        ({"file_size": 1e-4}, "bytes cannot be reached: .* remain of .* bytes"),
        ({"keep_channels": "features.9=0.5"}, "unknown layer 'features.9'"),
        ({"latency": "fast"}, "'fast' is not a time"),
        ({"macs": 0.5, "scope": "search"}, "search compares predictions on images"),
        ({"macs": 0.5, "method": "greedy"}, "'greedy' needs calibration images"),
    ],
)
def test_user_errors_are_one_line(options, message):
    with pytest.raises(UserError, match=message) as caught:
        shrink(_model("simplecnn"), [], **options)
    assert "\n" not in str(caught.value)


def test_calibration_images_reduce_the_error():
    model = _model("resnet20", shortcut="B")
    images = torch.randn(64, 3, 16, 16)
    reestimate_batchnorm(model.module, [images])
    with torch.no_grad():
        whole = model.module.eval()(images)
        errors = [
            (shrink(model, batches, macs=0.6).module.eval()(images) - whole).square().mean()
            for batches in ([images[:32], images[32:]], [])
        ]
    assert errors[0] < 0.5 * errors[1]


def test_recalibration_changes_only_the_statistics():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, momentum=0.3), nn.Dropout(0.5)).eval()
    images = torch.randn(3, 8, 3, 4, 4)
    weights = [p.clone() for p in module.parameters()]
    reestimate_batchnorm(module, images)
    maps = torch.stack([module[0](batch) for batch in images])
    assert torch.allclose(module[1].running_mean, maps.mean((0, 1, 3, 4)), atol=1e-6)
    assert torch.allclose(module[1].running_var, maps.var((1, 3, 4)).mean(0), rtol=0.05)
    assert (module[1].momentum, module[1].training, module.training) == (0.3, False, False)
    assert all(torch.equal(p, before) for p, before in zip(module.parameters(), weights))


def test_shrunk_models_can_be_trained_and_saved(tmp_path):
    small = shrink(_model(), [], macs=0.3)
    images = torch.randn(4, 3, 16, 16).contiguous(memory_format=torch.channels_last)
    small.module(images).sum().backward()
    small.save(tmp_path)
    assert torch.equal(Model.load(tmp_path).module.eval()(images), small.module.eval()(images))


@pytest.mark.parametrize("targets", [{"macs": 1.0}, {"macs": "1"}, {"params": "20M"}, {"macs": "20G", "params": 1}])
@pytest.mark.parametrize("count", [0, 4])
def test_a_model_that_is_small_enough_is_not_changed(targets, count):
    model, logged = _model("simplecnn"), []
    batches = [torch.randn(count, 3, 16, 16)] if count else []
    with pytest.warns(UserWarning, match=r"nothing to prune: .* has [\d,]+ (MACs|parameters) \(target: [\d,]+\)"):
        same = shrink(model, batches, **targets)
    assert shrink(model, batches, log=logged.append, **targets).module is not model.module
    assert [text.startswith("nothing to prune") for text in logged] == [True]
    for name, tensor in model.module.state_dict().items():
        assert torch.equal(tensor, same.module.state_dict()[name])


def test_layers_keep_the_requested_channels():
    model = _model()
    small = shrink(model, [], keep_channels="layer2.*.conv1=0.5")
    shapes = {name: tuple(weight.shape) for name, weight in small.module.named_parameters()}
    for name, weight in model.module.named_parameters():
        expected = list(weight.shape)
        if name.startswith("layer2") and name.endswith("conv1.weight"):
            expected[0] //= 2
        if name.startswith("layer2") and name.endswith("conv2.weight"):
            expected[1] //= 2
        if name.startswith("layer2") and ".bn1." in name:
            expected[0] //= 2
        assert shapes[name] == tuple(expected)


@pytest.mark.parametrize("target", [60_000, "60kB", 0.4])
def test_the_file_is_as_small_as_requested(target, tmp_path):
    model = _model("simplecnn")
    shrink(model, [], file_size=target).save(tmp_path / "small")
    model.save(tmp_path / "whole")
    sizes = [(tmp_path / name / "model.safetensors").stat().st_size for name in ("small", "whole")]
    limit = 0.4 * sizes[1] if target == 0.4 else 60_000
    assert 0.9 * limit <= sizes[0] <= limit


@pytest.mark.parametrize("shape", [(4, 3, 8, 8), (4, 1, 16, 16), (3, 16, 16)])
def test_calibration_images_of_another_shape_are_refused(shape):
    with pytest.raises(UserError, match=r"calibration images have the shape .* takes \(N, 3, 16, 16\)"):
        shrink(_model("simplecnn"), [torch.randn(shape)], macs=0.5)


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (torch.zeros(2, 3, 16, 16, dtype=torch.uint8), r"are torch.uint8, not float"),
        (torch.full((2, 3, 16, 16), float("nan")), "contain NaN or infinite numbers"),
    ],
)
def test_calibration_images_must_be_finite_numbers(images, message):
    """With images of NaN, scores would be meaningless, and the weights fitted to them NaN."""
    with pytest.raises(UserError, match=message):
        shrink(_model(), [images], macs=0.5)


@pytest.mark.parametrize("labels", [[], [torch.zeros(1, dtype=torch.long)], [torch.tensor([0, 99])]])
def test_labels_that_do_not_fit_the_images_are_refused(labels):
    with pytest.raises(UserError, match="labels must be"):
        shrink(_model(), [torch.randn(2, 3, 16, 16)], method="taylor", macs=0.5, labels=labels)


def test_labels_reach_the_criteria_that_use_any():
    model, batches = _model(), [torch.randn(32, 3, 16, 16)]
    one, other = (
        shrink(model, batches, method="taylor", keep_channels=0.5, labels=[labels]).module.conv1.weight
        for labels in (torch.zeros(32, dtype=torch.int64), torch.arange(32) % 5)
    )
    assert one.shape == other.shape and not torch.equal(one, other)


def test_without_compensation_weights_are_only_dropped():
    model = _model("simplecnn")
    small = shrink(model, [torch.randn(32, 3, 16, 16)], macs=0.5, compensate=False)
    before, after = (torch.cat([w.detach().flatten() for w in one.module.parameters()]) for one in (model, small))
    assert torch.isin(after, before).all()


def test_one_unmet_target_is_enough_to_prune():
    model = _model("simplecnn")
    small = shrink(model, [], macs=1.0, params=0.5)
    assert sum(p.numel() for p in small.module.parameters()) <= 0.5 * sum(p.numel() for p in model.module.parameters())


def test_without_images_statistics_are_kept():
    model = _model()
    model.module.bn1.running_mean.fill_(3.0)
    assert (shrink(model, [], macs=0.5).module.bn1.running_mean == 3.0).all()
