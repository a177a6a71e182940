from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from networks import NETWORKS, difference, names, network, traced
from shoestring.channels import trace, widen

EVERY = pytest.mark.parametrize(("name", "options"), NETWORKS, ids=names(NETWORKS))


def _compute(module: nn.Module, images: torch.Tensor, *, training: bool) -> torch.Tensor:
    with torch.no_grad():
        return module.train(training)(images)


@EVERY
@pytest.mark.parametrize("new", ["copies", "fresh"])
def test_widening_does_not_change_the_function(name, options, new):
    (module, table), images = traced(name, options), torch.randn(6, 3, 16, 16)
    sizes = {group: own.size + 1 + own.size // 2 for group, own in table.groups.items()}
    for training in (False, True):
        wider = widen(module, table, sizes, new=new)
        if new == "fresh" and training:
            continue  # batch statistics of fresh channels differ
        expected = _compute(module, images, training=training)
        assert difference(_compute(wider, images, training=training), expected) < 1e-5
        module = network(name, options)
    retraced = trace(wider, images, verify=False)
    assert [group.size for group in retraced.groups.values()] == list(sizes.values())


def test_split_weights_add_up():
    module = nn.Sequential(nn.Conv2d(3, 2, 1), nn.Conv2d(2, 5, 3))
    table = trace(module, torch.zeros(1, 3, 4, 4))
    wider = widen(module, table, {"0": 6})
    assert torch.equal(wider[0].weight, module[0].weight[[0, 0, 0, 1, 1, 1]])
    parts = wider[1].weight.unflatten(1, (2, 3))
    assert torch.allclose(parts.sum(2), module[1].weight, atol=1e-6)
    fractions = parts / module[1].weight[:, :, None]
    assert fractions.std() > 0.1
    same = widen(module, table, {"0": 6})
    assert torch.equal(same[1].weight, wider[1].weight)
    assert not torch.equal(widen(module, table, {"0": 6}, seed=1)[1].weight, wider[1].weight)


@pytest.mark.parametrize("name", ["convnet", "resnet20", "timm:test_efficientnet"])
def test_copies_get_different_gradients(name):
    module, images = network(name, {}).train(), torch.randn(8, 3, 16, 16)
    table = trace(module, images)
    wider = widen(module, table, {group: 2 * own.size for group, own in table.groups.items()})
    functional.cross_entropy(wider(images), torch.arange(8) % 5).backward()
    cosines = []
    weights = dict(wider.named_parameters())
    for group in table.groups.values():
        for axis, dim in group.producers:
            gradient = weights[axis].grad
            if gradient is not None and gradient.norm() > 0:
                even, odd = gradient.movedim(dim, 0)[::2].flatten(1), gradient.movedim(dim, 0)[1::2].flatten(1)
                cosines.append(functional.cosine_similarity(even, odd).mean())
    assert torch.stack(cosines).mean() < 0.9
    assert max(cosines) < 0.99


@pytest.mark.parametrize(
    "make", [lambda p: torch.optim.SGD(p, 0.05, momentum=0.9), lambda p: torch.optim.Adam(p, 1e-3)]
)
def test_training_continues_smoothly_after_widening(make):
    torch.manual_seed(0)
    module = network("resnet20", {"width": 0.25}).train()
    images, labels = torch.randn(64, 3, 16, 16), torch.arange(64) % 5
    optimizer = make(module.parameters())

    def step() -> float:
        optimizer.zero_grad()
        loss = functional.cross_entropy(module(images), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    losses = [step() for _ in range(12)]
    table = trace(module, images)
    sizes = {group: 2 * own.size for group, own in table.groups.items()}
    assert widen(module, table, sizes, inplace=True, optimizers=[optimizer]) is module
    for parameter in module.parameters():
        assert all(v.shape in ((), parameter.shape) for v in optimizer.state[parameter].values() if torch.is_tensor(v))
    later = [step() for _ in range(4)]
    assert later[0] <= losses[-1] * 1.02  # the same function, one step later
    assert max(later) <= losses[-1] * 1.1
    assert later[-1] < losses[-1]


def test_averaged_weights_get_the_same_split():
    module, images = network("convnet", {"width": 0.25}), torch.randn(4, 3, 16, 16)
    average = {name: value.clone() for name, value in module.state_dict().items()}
    expected = module(images)
    table = trace(module, images)
    sizes = {group: own.size + 3 for group, own in table.groups.items()}
    widen(module, table, sizes, inplace=True, averages=[average])
    module.load_state_dict(average)
    assert difference(module(images), expected) < 1e-5


@pytest.mark.parametrize(
    ("sizes", "new", "message"),
    [
        ({"nothing": 4}, "copies", "no group 'nothing': the groups are 0, 3"),
        ({"0": 1}, "copies", "has 2 channels already, more than the requested 1"),
        ({"3": 5}, "copies", "normalized together"),
        ({"3": 8}, "fresh", "normalized together"),
    ],
)
def test_invalid_arguments_raise(sizes, new, message):
    module = nn.Sequential(
        nn.Conv2d(3, 2, 1), nn.ReLU(), nn.Identity(), nn.Conv2d(2, 4, 1), nn.GroupNorm(1, 4), nn.Conv2d(4, 2, 1)
    )
    table = trace(module, torch.randn(1, 3, 4, 4))
    with pytest.raises(ValueError, match=message):
        widen(module, table, sizes, new=new)


def test_normalized_channels_are_copied_equally_often():
    module = nn.Sequential(nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.GELU(), nn.Conv2d(4, 2, 1))
    images = torch.randn(2, 3, 4, 4)
    table = trace(module, images)
    assert table.groups["0"].size == 2
    wider = widen(module, table, {"0": 6})
    assert wider[0].weight.shape[0] == 12
    assert difference(wider(images), module(images)) < 1e-5


class Combined(nn.Module):
    """A linear layer whose channels are combined by index before the next layer reads them."""

    def __init__(self, combine, channels: int) -> None:
        super().__init__()
        self.a, self.h, self.combine = nn.Linear(6, channels), nn.Linear(channels, 3), combine

    def forward(self, values):
        return self.h(self.combine(torch.relu(self.a(values))))


COMBINED = {
    "flip": lambda y: y + y.flip(-1),
    "difference with a flip": lambda y: y - y.flip(-1),
    "roll": lambda y: y + y.roll(1, -1),
    "neighbors": lambda y: y + torch.cat([y[:, 1:], y[:, :1]], 1),
    "shuffle": lambda y: y.view(len(y), 2, -1).transpose(1, 2).flatten(1) if y.shape[1] % 2 == 0 else y,
    "halves": lambda y: y + torch.cat(y.chunk(2, -1)[::-1], -1) if y.shape[1] % 2 == 0 else y,
    "products": lambda y: (y.unsqueeze(2) @ y.unsqueeze(1)).sum(2),
    "sorted": lambda y: y.sort(-1)[0],
    "sums": lambda y: y.cumsum(-1),
    "alone": lambda y: y,
}


@pytest.mark.parametrize(("name", "combine"), COMBINED.items(), ids=COMBINED.keys())
@pytest.mark.parametrize("channels", [4, 5])
def test_channels_combined_by_index_are_widened_exactly_or_not_at_all(name, combine, channels):
    torch.manual_seed(0)
    module, values = Combined(combine, channels).eval(), torch.randn(7, 6)
    table = trace(module, values)
    rejected = set()
    for new in ("copies", "fresh"):
        for group, own in table.groups.items():
            for size in (own.size + 1, 2 * own.size, 3 * own.size + 1):
                try:
                    wider = widen(module, table, {group: size}, new=new)
                except ValueError:
                    rejected.add(new)
                else:
                    assert torch.allclose(wider(values), module(values), atol=1e-5)
    even_only = name in ("shuffle", "halves") and channels == 5
    assert even_only or rejected <= {"fresh"}
    assert name not in ("flip", "difference with a flip", "roll", "neighbors") or rejected


def test_fresh_channels_raise_where_channels_are_combined_by_index():
    module = Combined(COMBINED["flip"], 4)
    table = trace(module, torch.randn(7, 6))
    with pytest.raises(ValueError, match=r"'a' can only be copied: .* combines channels by index"):
        widen(module, table, {"a": 3}, new="fresh")
