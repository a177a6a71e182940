from __future__ import annotations

import copy

import pytest
import torch

import networks
from clustered_networks import IMAGES, SIZE, half, model, outputs, with_equal_channels
from shoestring import UserError
from shoestring.config.size_sections import Prune
from shoestring.models import Model
from shoestring.pruning.clustering.centroids import Pull
from shoestring.pruning.clustering.clustering import cluster

MERGED = [(*network, "kmeans") for network in networks.NETWORKS]
MERGED += [(*network, method) for network in networks.NETWORKS[:3] for method in ("agglomerative", "kmedoids")]


@pytest.mark.parametrize(("name", "options", "method"), MERGED)
def test_equal_filters_are_merged_exactly(name, options, method):
    whole = with_equal_channels(model(name, **options))
    before = copy.deepcopy(whole.module.state_dict())
    merged = cluster(whole, [], Prune(clusters=half(whole), cluster_method=method)).model
    params = [sum(weight.numel() for weight in one.module.parameters()) for one in (whole, merged)]
    assert params[1] < 0.5 * params[0]
    assert networks.difference(outputs(merged), outputs(whole)) < 2e-4
    assert all(torch.equal(value, before[key]) for key, value in whole.module.state_dict().items())


@pytest.mark.parametrize("metric", ["euclidean", "cosine", "correlation"])
@pytest.mark.parametrize("features", ["filters", "weights", "activations"])
def test_equal_filters_are_found_by_all_features_and_metrics(features, metric):
    whole = with_equal_channels(model("resnet20", shortcut="B"))
    settings = Prune(clusters=half(whole), cluster_features=features, cluster_metric=metric)
    # batch norms are not re-estimated: that would change the outputs
    clustered = cluster(whole, [IMAGES] if features == "activations" else [], settings)
    for unit in clustered.units:
        numbers = torch.from_numpy(clustered.numbers[unit.name])
        assert torch.equal(numbers[: unit.size // 2], numbers[(unit.size + 1) // 2 :])
    if features != "activations":
        assert networks.difference(outputs(clustered.model), outputs(whole)) < 2e-4


def test_shared_filters_are_few_and_keep_the_size():
    whole = model()
    shared = cluster(whole, [], Prune(clusters=3, cluster_outcome="share")).model
    for name, layer in shared.module.named_modules():
        original = whole.module.get_submodule(name) if name else whole.module
        if isinstance(layer, torch.nn.Conv2d):
            assert layer.weight.shape == original.weight.shape
            assert len(layer.weight.flatten(1).unique(dim=0)) <= 3
            assert not torch.equal(layer.weight, original.weight)
    assert outputs(shared).isfinite().all()


def test_shared_weights_are_the_centroids_of_k_means_and_leave_batch_norms_alone():
    whole = model()
    settings = Prune(clusters=3, cluster_outcome="share", cluster_features="weights")
    clustered = cluster(whole, [], settings)
    for name, before in whole.module.state_dict().items():
        after = clustered.model.module.state_dict()[name]
        unit = name.removesuffix(".weight")
        if unit not in clustered.numbers:
            assert torch.equal(after, before), name
            continue
        numbers = clustered.numbers[unit]
        for number in set(numbers.tolist()):
            mean = before[numbers == number].mean(0)
            assert torch.allclose(after[numbers == number], mean.expand_as(after[numbers == number]), atol=1e-6)


def test_a_folded_mean_is_the_mean_of_what_the_members_compute():
    torch.manual_seed(0)
    body = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.Conv2d(8, 5, 14))
    body.append(torch.nn.Flatten())
    for tensor in (body[1].running_mean, body[1].weight.data, body[1].bias.data):
        tensor.normal_()
    body[1].running_var.uniform_(0.5, 3)
    whole = Model(body.eval(), "x", {}, tuple("abcde"), SIZE, heads=("2.weight", "2.bias"))
    clustered = cluster(whole, [], Prune(clusters=3, cluster_outcome="share"))
    assert [unit.name for unit in clustered.units] == ["0"]
    numbers = torch.from_numpy(clustered.numbers["0"])
    before, after = body[:2](IMAGES), clustered.model.module[:2](IMAGES)
    for number in range(3):
        mean = before[:, numbers == number].mean(1, keepdim=True)
        assert torch.allclose(after[:, numbers == number], mean.expand_as(after[:, numbers == number]), atol=1e-4)


def test_images_re_estimate_batch_norms():
    whole = model()
    settings = Prune(clusters=8)
    without, using = (cluster(whole, batches, settings).model for batches in ([], [IMAGES]))
    assert not torch.equal(without.module.bn1.running_mean, using.module.bn1.running_mean)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"clusters": "conv7=3"}, "unknown layer to cluster 'conv7'. Did you mean 'conv1'"),
        ({"clusters": "100"}, "--clusters 100 is more than the filters of the layers, at most 64"),
        ({"clusters": "layer1.0.conv1=17"}, "17 is more than the filters of layer1.0.conv1, at most 16"),
        ({"clusters": "layer3=99", "cluster_outcome": "share"}, "99 is more than the filters of layer3, at most 64"),
        ({"clusters": "64"}, "changes nothing"),
        ({"clusters": "error=1e-12"}, "changes nothing"),
        ({"clusters": "auto", "macs": "0.000001"}, "cannot be reached: with one channel left in every layer"),
        ({"clusters": "2", "cluster_features": "activations"}, "activations are compared on images"),
    ],
)
def test_user_errors_are_one_line(settings, message):
    with pytest.raises(UserError, match=message) as caught:
        cluster(model(), [], Prune(**settings))
    assert "\n" not in str(caught.value)


def test_a_network_without_filters_is_refused():
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(768, 5))
    for outcome in ("share", "merge"):
        with pytest.raises(UserError, match="no filters to cluster"):
            cluster(Model(flat, "flat", {}, tuple("abcde"), SIZE), [], Prune(clusters=2, cluster_outcome=outcome))


def test_pull_shares_the_updates_of_a_cluster():
    clustered = cluster(model(), [], Prune(clusters=4, cluster_outcome="share"))
    pull, module = clustered.pull(), clustered.model.module
    assert isinstance(pull, Pull)
    with torch.no_grad():
        updates = torch.randn_like(module.conv1.weight)
        before = module.conv1.weight.clone()
        module.conv1.weight += updates
        pull(0.1)
    numbers = clustered.numbers["conv1"]
    for number in set(numbers.tolist()):
        mean = updates[numbers == number].mean(0)
        change = (module.conv1.weight - before)[numbers == number]
        assert torch.allclose(change, mean.expand_as(change), atol=1e-5)


def test_centripetal_clusters_come_together_until_merging_is_lossless():
    clustered = cluster(model("resnet20", shortcut="B"), [], Prune(clusters=6, cluster_outcome="centripetal"))
    module, pull = clustered.model.module, clustered.pull()
    assert pull is not None

    def spread() -> float:
        weight, numbers = module.layer1[0].conv1.weight.detach(), clustered.numbers["layer1.0.conv1"]
        return max(float(weight[numbers == n].std(0, correction=0).max()) for n in set(numbers.tolist()))

    start = spread()
    pull(0.0)
    assert spread() == pytest.approx(start, rel=1e-3)
    pull(0.4)
    assert 0.3 * start < spread() < 0.8 * start
    pull(0.8)
    assert spread() < 1e-6
    with torch.no_grad():  # statistics that training would have made equal, too
        for layer in module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.running_mean.zero_()
                layer.running_var.fill_(1.0)
    merged = clustered.merged([])
    assert merged.module.layer1[0].conv1.out_channels == 6
    assert networks.difference(outputs(merged), outputs(clustered.model)) < 1e-4
