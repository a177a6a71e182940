from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from networks import network, random_kept
from shoestring.channels import drop, trace
from shoestring.evaluation.cost import mac_counter
from shoestring.models.architectures.convnet import convnet
from shoestring.models.architectures.resnet import BasicBlock, resnet20
from shoestring.models.architectures.vgg import vgg8

IMAGE = torch.zeros(1, 3, 8, 8)


def tiny() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(4, 5, 3),
        nn.Flatten(),
        nn.Linear(5 * 2 * 2, 6),
        nn.ReLU(),
        nn.Linear(6, 2),
    )


def test_table_of_a_tiny_network():
    table = trace(tiny(), IMAGE)
    axes = {axis: numbers.tolist() for axis, numbers in table.axes.items()}
    first, second, third = [0, 1, 2, 3], [4, 5, 6, 7, 8], [9, 10, 11, 12, 13, 14]
    norm = {(f"1.{name}", 0): first for name in ("weight", "bias", "running_mean", "running_var")}
    assert axes == norm | {
        ("0.weight", 0): first,
        ("0.bias", 0): first,
        ("4.weight", 1): first,
        ("4.weight", 0): second,
        ("4.bias", 0): second,
        ("6.weight", 1): [channel for channel in second for _ in range(4)],
        ("6.weight", 0): third,
        ("6.bias", 0): third,
        ("8.weight", 1): third,
    }
    assert {name: group.size for name, group in table.groups.items()} == {"0": 4, "4": 5, "6": 6}
    assert table.groups["0"].producers == (("0.weight", 0),)
    assert table.groups["0"].consumers == (("4.weight", 1),)
    assert table.positions == {"0.weight": 64, "4.weight": 4, "6.weight": 1, "8.weight": 1}
    assert table.notes == ()


def test_costs_after_pruning():
    table = trace(tiny(), IMAGE)
    assert table.params() == (108 + 4) + 8 + (180 + 5) + (120 + 6) + (12 + 2)
    assert table.macs() == 64 * 108 + 4 * 180 + 120 + 12
    kept = {"0": torch.tensor([1]), "4": torch.tensor([0, 4]), "6": torch.tensor([2, 3, 5])}
    assert table.params(kept) == (27 + 1) + 2 + (18 + 2) + (24 + 3) + (6 + 2)
    assert table.macs(kept) == 64 * 27 + 4 * 18 + 24 + 6
    assert table.sizes(kept)["6.weight"] == (3, 8)


@pytest.mark.parametrize("module", [tiny(), resnet20(7), convnet(7, width=0.125), vgg8(7, width=0.125)])
def test_macs_match_the_flop_counter_of_torch(module):
    table = trace(module, torch.zeros(2, 3, 8, 8))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        module.eval()(IMAGE)
    assert table.macs() == counter.get_total_flops() // 2
    assert table.params() == sum(p.numel() for p in module.parameters())


def test_zero_padded_shortcuts_share_channels_with_an_offset():
    blocks = nn.Sequential(nn.Conv2d(3, 2, 1), BasicBlock(2, 6, 2, "A"), nn.Conv2d(6, 2, 1))
    table = trace(blocks, IMAGE)
    sizes = {name: group.size for name, group in table.groups.items()}
    assert sizes == {"0": 2, "1.conv1": 6, "1.conv2": 2, "1.conv2#2": 2}  # padding before and after
    assert table.groups["0"].producers == (("0.weight", 0), ("1.conv2.weight", 0))
    assert table.groups["1.conv2"].producers == (("1.conv2.weight", 0),)
    stream = table.axes["1.conv2.weight", 0].tolist()
    assert stream[2:4] == table.axes["0.weight", 0].tolist() == [0, 1]
    assert stream[:2] == table.axes["1.shortcut.1.before", 0].tolist()
    assert stream[4:] == table.axes["1.shortcut.1.after", 0].tolist()
    assert table.axes["2.weight", 1].tolist() == stream


def test_residual_stages_share_channels_and_their_branches_do_not():
    for shortcut, sizes in (("A", [16, 8, 8, 16, 16]), ("B", [16, 32, 64])):
        table = trace(resnet20(10, shortcut=shortcut), IMAGE)
        streams = [group for group in table.groups.values() if len(group.producers) > 1]
        assert [group.size for group in streams] == sizes
        assert sum(len(group.producers) == 1 for group in table.groups.values()) == 9
        assert table.notes == ()


def test_outputs_and_inputs_are_never_pruned():
    table = trace(resnet20(10), IMAGE)
    assert ("linear.weight", 0) not in table.axes
    assert ("conv1.weight", 1) not in table.axes


def test_concatenated_channels_remain_separate():
    class Cat(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other, self.last = nn.Conv2d(3, 2, 1), nn.Conv2d(3, 3, 1), nn.Conv2d(5, 2, 1)

        def forward(self, images):
            return self.last(torch.cat([self.one(images), self.other(images)], 1))

    table = trace(Cat(), IMAGE)
    assert {name: group.size for name, group in table.groups.items()} == {"one": 2, "other": 3}
    assert table.axes["last.weight", 1].tolist() == [0, 1, 2, 3, 4]


def test_depthwise_convolutions_pass_channels_through_and_grouped_ones_unite_them():
    depthwise = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 4, 3, groups=4), nn.Conv2d(4, 2, 1))
    table = trace(depthwise, IMAGE)
    assert {name: group.size for name, group in table.groups.items()} == {"0": 4}
    assert table.axes["1.weight", 0].tolist() == table.axes["2.weight", 1].tolist()
    grouped = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 6, 3, groups=2), nn.Conv2d(6, 2, 1))
    table = trace(grouped, IMAGE)
    assert {name: group.size for name, group in table.groups.items()} == {"0": 2, "1": 3}
    assert table.axes["1.weight", 1].tolist() == [0, 1]
    assert table.axes["1.weight", 0].tolist() == table.axes["2.weight", 1].tolist() == [2, 3, 4, 2, 3, 4]
    assert table.macs() == 64 * 12 + 36 * 6 * 18 + 36 * 12
    several = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 8, 3, groups=4), nn.Conv2d(8, 2, 1))
    assert trace(several, IMAGE).axes["2.weight", 1].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_transposed_convolutions_produce_channels_along_their_second_axis():
    for groups, produced in ((1, 6), (2, 3)):
        layer = nn.ConvTranspose2d(4, 6, 2, 2, groups=groups)
        table = trace(nn.Sequential(nn.Conv2d(3, 4, 1), layer, nn.Conv2d(6, 2, 1)), IMAGE)
        assert {name: group.size for name, group in table.groups.items()} == {"0": 4 // groups, "1": produced}
        assert table.groups["1"].producers == (("1.weight", 1),)
        assert table.macs() == 64 * 12 + 64 * 4 * (6 // groups) * 4 + 256 * 12


def test_attention_heads_are_kept_or_dropped_as_a_whole():
    import timm

    module = timm.create_model("vit_tiny_patch16_224", img_size=16, patch_size=8, embed_dim=32, depth=1, num_heads=4)
    table = trace(module, torch.randn(1, 3, 16, 16))
    sizes = {name: group.size for name, group in table.groups.items()}
    assert sizes == {"patch_embed.proj": 32, "blocks.0.attn.qkv": 4, "blocks.0.mlp.fc1": 128}
    assert [group.separable for group in table.groups.values()] == [False, True, True]
    assert table.axes["blocks.0.attn.proj.weight", 1].unique_consecutive().tolist() == [32, 33, 34, 35]
    assert table.axes["pos_embed", 2].tolist() == table.axes["cls_token", 2].tolist() == list(range(32))


def test_a_model_that_fails_on_the_example_raises():
    with pytest.raises(ValueError, match=r"fails on an input of shape \(1, 5, 8, 8\): RuntimeError"):
        trace(tiny(), torch.zeros(1, 5, 8, 8))


def test_str_lists_groups_and_costs():
    text = str(trace(tiny(), IMAGE))
    assert "0: 4 channels" in text
    assert "15 channels in 3 groups" in text


MIXED = {
    "timm:test_vit": {"img_size": 32},
    "timm:test_convnext": {},
    "timm:test_nfnet": {},
    "timm:test_efficientnet": {},
}


@pytest.mark.parametrize(("name", "options"), MIXED.items(), ids=MIXED.keys())
def test_macs_match_the_counter_before_and_after_pruning(name, options):
    module, images = network(name, options, side=32), torch.randn(2, 3, 32, 32)
    table = trace(module, images, verify=False)
    for fraction in (1.0, 0.6):
        kept = random_kept(table, fraction)
        with mac_counter() as counter:
            drop(module, table, kept)(images[:1])
        assert table.macs(kept) == counter.macs
        assert table.after(kept).macs() == counter.macs


def test_products_of_activations_are_counted_after_pruning():
    class Mix(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.q, self.k, self.v, self.last = (nn.Linear(*io) for io in ((6, 12), (6, 12), (6, 12), (12, 2)))
            self.embed, self.tokens, self.heads = nn.Linear(3, 6), nn.Linear(64, 64), 4
            self.w = nn.Parameter(torch.randn(12, 12))

        def forward(self, images):
            x = self.tokens(self.embed(images.flatten(2).mT).mT).mT
            q, k, v = (one(x).unflatten(2, (self.heads, 3)).transpose(1, 2) for one in (self.q, self.k, self.v))
            y = (q @ k.mT).softmax(-1) @ v
            return self.last((y.transpose(1, 2).flatten(2) @ self.w).relu().mean(1))

    module, images = Mix().eval(), torch.randn(2, 3, 8, 8)
    table = trace(module, images)
    products = 2 * 64 * 64 * 12
    assert table.macs() == 64 * 18 + 6 * 64 * 64 + 64 * 6 * 36 + products + 64 * 144 + 24
    kept = {name: torch.arange(group.size // 2) for name, group in table.groups.items()}
    with mac_counter() as counter:
        drop(module, table, kept)(images[:1])
    assert table.macs(kept) == counter.macs == 64 * 9 + 3 * 64 * 64 + 64 * 3 * 18 + products // 2 + 64 * 36 + 12
