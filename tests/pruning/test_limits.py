from __future__ import annotations

import pytest
import torch
from torch import nn

from networks import random_kept
from shoestring.channels import drop, trace
from shoestring.errors import UserError
from shoestring.models.architectures.resnet import resnet20
from shoestring.pruning.limits import channel_counts, file_bytes, size_limits

NETWORK = resnet20(5, width=0.5).eval()
TABLE = trace(NETWORK, torch.randn(1, 3, 16, 16))


def _saved(module: nn.Module) -> int:
    from safetensors.torch import save

    return len(save({name: tensor.contiguous() for name, tensor in module.state_dict().items()}))


@pytest.mark.parametrize("fraction", [1.0, 0.5, 0.1])
def test_file_sizes_are_those_of_the_saved_file_and_never_too_small(fraction):
    kept = random_kept(TABLE, fraction)
    assert 0 <= file_bytes(NETWORK, TABLE, kept) - _saved(drop(NETWORK, TABLE, kept)) < 4000


def test_limits_are_fractions_or_numbers():
    limits = size_limits(NETWORK, TABLE, {"macs": 0.5, "params": "20k", "file_size": "100kB"})
    assert [(limit.unit, limit.most) for limit in limits] == [
        ("MACs", TABLE.macs() / 2),
        ("parameters", 20_000),
        ("bytes", 100_000),
    ]
    assert [limit.count(None) for limit in limits] == [TABLE.macs(), TABLE.params(), file_bytes(NETWORK, TABLE)]
    assert size_limits(NETWORK, TABLE, {"macs": None}) == []


@pytest.mark.parametrize(
    ("keep", "expected"),
    [
        (0.5, {name: group.size // 2 for name, group in TABLE.groups.items()}),
        ("layer1.0.conv1=0.5", {"layer1.0.conv1": 4}),
        ("layer1=0.25", {f"layer1.{index}.conv1": 2 for index in range(3)}),
        ({"layer3.*.conv1": 0.001}, {f"layer3.{index}.conv1": 1 for index in range(3)}),
        ("layer1=0.5,layer1.2=1", {"layer1.0.conv1": 4, "layer1.1.conv1": 4, "layer1.2.conv1": 8}),
        ("layer1.1.conv2=0.5", {"conv1": 4}),  # on the same residual connection
        (None, {}),
    ],
)
def test_layers_are_named_by_themselves_their_modules_or_patterns(keep, expected):
    assert channel_counts(TABLE, keep) == expected


def test_unknown_layers_are_refused_with_a_suggestion():
    with pytest.raises(UserError, match=r"unknown layer 'layer1.0.cnv1'. Did you mean 'layer1.0.conv1'\?"):
        channel_counts(TABLE, "layer1.0.cnv1=0.5")


def test_suggestions_include_modules_that_contain_layers():
    with pytest.raises(UserError, match=r"unknown layer 'layr1'. Did you mean 'layer1'\?"):
        channel_counts(TABLE, "layr1=0.5")
