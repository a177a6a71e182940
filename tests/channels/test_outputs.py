"""Outputs are compared correctly, and classes are never pruned, however the outputs are computed from them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shoestring.channels import trace
from shoestring.channels.outputs import compute_outputs, outputs_match

IMAGES = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Classifier(nn.Module):
    """A classifier of five classes with a function of the logits as output."""

    def __init__(self, last) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.features, self.classes, self.last = nn.Conv2d(3, 8, 1), nn.Linear(8, 5), last

    def forward(self, images):
        return self.last(self.classes(self.features(images).relu().mean((2, 3))))


@dataclass
class Output:
    logits: Tensor


LAST = {
    "argmax": lambda y: y.argmax(1),
    "argmax of all": lambda y: y.argmax(),
    "a number": lambda y: y.argmax(1).item(),
    "a list": lambda y: y.argmax(1).tolist(),
    "an array": lambda y: y.detach().numpy(),
    "booleans": lambda y: y > 0,
    "topk": lambda y: y.topk(2, 1),
    "sorted": lambda y: y.sort(1)[1],
    "one-hot": lambda y: F.one_hot(y.argmax(1), 5),
    "compared with numbers": lambda y: (y.argmax(1, keepdim=True) == torch.arange(5)).float(),
    "index": lambda y: torch.arange(5.0)[y.argmax(1)],
    "softmax": lambda y: y.softmax(1),
    "confidence": lambda y: y.softmax(1).amax(1),
    "maximum with its index": lambda y: y.max(1),
    "energy": lambda y: -y.logsumexp(1),
    "complex": lambda y: torch.complex(y, -y),
    "nested": lambda y: {"a": [(y,)], "b": None},
    "a data class": lambda y: Output(y),
    "some not a number": lambda y: torch.cat([y, y * float("nan")], 1),
}


@pytest.mark.parametrize("last", LAST.values(), ids=LAST.keys())
def test_classes_are_never_pruned(last):
    table = trace(Classifier(last), IMAGES)
    assert {name: group.size for name, group in table.groups.items()} == {"features": 8}


NOTHING = {
    "no numbers at all": (lambda y: None, "contain no tensors and no numbers"),
    "a string": (lambda y: "cat", "contain no tensors and no numbers"),
    "not a number": (lambda y: y * float("nan"), "the outputs for the example contain no finite number"),
}


@pytest.mark.parametrize(("last", "note"), NOTHING.values(), ids=NOTHING.keys())
def test_networks_without_comparable_outputs_are_not_pruned(last, note):
    table = trace(Classifier(last), IMAGES)
    assert not table.groups
    assert note in table.notes[-1]


def test_channels_reduced_by_a_gate_are_not_mistaken_for_classes():
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.gate, self.last = nn.Conv2d(3, 6, 1), nn.Conv2d(2, 1, 3, padding=1), nn.Conv2d(6, 2, 1)

        def forward(self, images):
            maps = self.first(images)
            pooled = torch.cat([maps.max(1, keepdim=True)[0], maps.mean(1, keepdim=True)], 1)
            return self.last(maps * self.gate(pooled).sigmoid())

    assert trace(Attention(), IMAGES).groups["first"].size == 6


EQUAL = torch.tensor([1.0, float("nan"), float("inf")])
PAIRS = [
    (torch.tensor([3, 4]), torch.tensor([3, 5]), False),
    (torch.tensor([2**40]), torch.tensor([2**40 + 1]), False),
    (torch.tensor([True]), torch.tensor([False]), False),
    (torch.tensor([3]), torch.tensor([3.0]), False),
    (torch.tensor([1 + 1j]), torch.tensor([1 - 1j]), False),
    (torch.tensor([1 + 1j]), torch.tensor([1 + 1.00001j]), True),
    (EQUAL, EQUAL.clone(), True),
    (EQUAL, torch.tensor([1.0, 0.0, float("inf")]), False),
    (EQUAL, torch.tensor([1.0, float("nan"), float("-inf")]), False),
    (torch.empty(0), torch.empty(0), True),
]


@pytest.mark.parametrize(("output", "expected", "equal"), PAIRS)
def test_outputs_are_compared_by_their_type(output, expected, equal):
    assert outputs_match([output], [expected]) is equal


def test_nested_outputs_are_flattened():
    module = Classifier(lambda y: {"a": [y, (1, True)], "b": Output(y), "c": 2.5})
    assert sorted(one.numel() for one in compute_outputs(module, IMAGES)) == [1, 1, 1, 5, 5]


def test_outputs_match_within_their_precision():
    one = [torch.tensor([1.0, 2.0]), torch.tensor([3])]
    assert outputs_match(one, [torch.tensor([1.0001, 2.0]), torch.tensor([3])])
    assert not outputs_match(one, [torch.tensor([1.01, 2.0]), torch.tensor([3])])
    assert not outputs_match(one, [torch.tensor([[1.0, 2.0]]), torch.tensor([3])])
    half = [torch.tensor([1.0, 2.0], dtype=torch.float16)]
    assert outputs_match(half, [torch.tensor([1.01, 2.0], dtype=torch.float16)])
    assert not outputs_match([torch.tensor([float("nan")])], [torch.tensor([1.0])])
