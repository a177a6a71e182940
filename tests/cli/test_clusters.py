from __future__ import annotations

import pytest
import torch

from shoestring import Model
from shoestring.evaluation.cost import count_params

pytestmark = pytest.mark.usefixtures("few_digits")


@pytest.fixture
def trained(call, tmp_path):
    words = ("--model", "simplecnn", "--norm", "--width", "0.5", "--epochs", 2, "--device", "cpu")
    call("train", "digits", *words, "--out", tmp_path / "run")
    return tmp_path / "run"


def filters(run) -> list[int]:
    """Number of different filters of each convolution."""
    layers = [layer for layer in Model.load(run).module.modules() if isinstance(layer, torch.nn.Conv2d)]
    return [len(layer.weight.flatten(1).unique(dim=0)) for layer in layers]


def test_shared_filters_stay_shared_in_training(call, trained, tmp_path):
    share = ("--clusters", 3, "--cluster-outcome", "share")
    result = call("prune", trained, *share, "--epochs", 3, "--out", tmp_path / "shared")
    assert max(filters(tmp_path / "shared")) <= 3 < max(filters(trained))
    assert result["macs"] == result["before_pruning"]["macs"]


def test_filters_are_merged_by_layer_or_to_a_size(call, trained, tmp_path):
    for name, words in (
        ("layers", ("--clusters", "conv2=4,hidden=20")),
        ("size", ("--clusters", "auto", "--params", "0.5", "--cluster-method", "agglomerative")),
        ("centripetal", ("--clusters", "auto", "--params", "0.5", "--cluster-outcome", "centripetal")),
    ):
        result = call("prune", trained, *words, "--epochs", 3, "--out", tmp_path / name)
        assert result["params"] == count_params(Model.load(tmp_path / name).module)
        assert result["params"] < result["before_pruning"]["params"]
        if name != "layers":
            assert result["params"] <= 0.5 * result["before_pruning"]["params"]
    assert Model.load(tmp_path / "layers").module.conv2.out_channels == 4


def test_bad_numbers_are_one_line_and_leave_no_folder(refused, trained, tmp_path):
    out = ("--out", tmp_path / "pruned")
    assert "Did you mean 'conv1'" in refused("prune", trained, "--clusters", "covn1=3", *out)
    assert "more than the filters" in refused("prune", trained, "--clusters", 100, *out)
    assert "more than the filters" in refused("run", "digits", "--model", "simplecnn", "--clusters", 900, *out)
    assert "has no effect without --clusters" in refused("prune", trained, "--cluster-metric", "cosine", *out)
    assert "cannot be reached" in refused("prune", trained, "--clusters", "auto", "--params", "1e-5", *out)
    assert not (tmp_path / "pruned").exists()


@pytest.mark.usefixtures("arguments")
def test_from_python(images, make_model):
    import shoestring

    model = make_model(images, "simplecnn", width=0.5)
    shared = shoestring.prune(model, images, clusters=3, cluster_outcome="share")
    assert len(shared.module.conv1.weight.flatten(1).unique(dim=0)) <= 3
    merged = shoestring.prune(model, images, clusters="conv1=2", cluster_features="activations")
    assert merged.module.conv1.out_channels == 2
    with pytest.raises(shoestring.UserError, match="merges filters by training: set a budget"):
        shoestring.prune(model, images, clusters=3, cluster_outcome="centripetal")
