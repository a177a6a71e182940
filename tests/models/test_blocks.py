from __future__ import annotations

import pytest

from shoestring.errors import UserError
from shoestring.models import Preprocessing, build
from shoestring.models.blocks import HEAD, find_blocks, tuned_blocks
from shoestring.models.layers import tensors


def _blocks(name: str, size: int = 64) -> dict[str, list[str]]:
    model = build(name, classes="abc", preprocessing=Preprocessing(size, 3, (0.5,) * 3, (0.5,) * 3))
    return find_blocks(model.module, model.heads)


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("resnet20", "conv1", "layer3.2"),
        ("simplecnn", "conv1", "hidden"),
        ("timm:resnet18", "conv1", "layer4.1"),
        ("timm:tf_efficientnet_lite0", "conv_stem", "conv_head"),
        ("timm:densenet121", "features.conv0", "features.denseblock4"),
    ],
)
def test_every_parameter_is_in_one_block(name, first, last):
    model = build(name, classes="abc", preprocessing=Preprocessing(64, 3, (0.5,) * 3, (0.5,) * 3))
    blocks = find_blocks(model.module, model.heads)
    assert next(iter(blocks)) == first
    assert list(blocks)[-2:] == [last, HEAD]
    names = [name for own in blocks.values() for name in own]
    assert sorted(names) == sorted(name for name, _ in model.module.named_parameters())
    assert {name for name in tensors(model.module) if name in model.heads} == set(blocks[HEAD])


@pytest.mark.parametrize(
    ("tune", "expected"),
    [
        ("head", [HEAD]),
        ("last:0", [HEAD]),
        ("last:2", ["layer4.0", "layer4.1", HEAD]),
        ("layer3", ["layer3.0", "layer3.1", HEAD]),
        ("layer3.1, head", ["layer3.1", HEAD]),
        ("layer4.1,conv1", ["conv1", "layer4.1", HEAD]),
    ],
)
def test_settings_name_blocks(tune, expected):
    assert tuned_blocks(tune, _blocks("timm:resnet18"), name="resnet18") == expected


def test_all_blocks_and_more_than_there_are():
    blocks = _blocks("timm:resnet18")
    for tune in ("all", "last:100"):
        assert tuned_blocks(tune, blocks, name="resnet18") == list(blocks)


def test_parts_of_names_match():
    blocks = _blocks("timm:densenet121")
    assert tuned_blocks("denseblock3", blocks, name="densenet121") == ["features.denseblock3", HEAD]


@pytest.mark.parametrize(
    ("tune", "message"),
    [
        ("layer5", r"unknown block of resnet18 'layer5'\. Did you mean 'layer"),
        ("", "unknown block of resnet18 ''"),
        ("last:two", "takes a number of blocks, such as last:2, not 'last:two'"),
        ("last:-1", "takes a number of blocks"),
    ],
)
def test_names_of_no_block_are_refused(tune, message):
    with pytest.raises(UserError, match=message):
        tuned_blocks(tune, _blocks("timm:resnet18"), name="resnet18")
