"""The classes of a network are never cut, however its outputs hide them."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shoestring.channels import trace
from shoestring.channels.trial import outputs, same

IMAGES = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Hidden(nn.Module):
    """Five classes, and what becomes of their logits."""

    def __init__(self, last) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.make, self.classes, self.last = nn.Conv2d(3, 8, 1), nn.Linear(8, 5), last

    def forward(self, images):
        return self.last(self.classes(self.make(images).relu().mean((2, 3))))


@dataclass
class Found:
    logits: Tensor


LAST = {
    "argmax": lambda y: y.argmax(1),
    "argmax of all": lambda y: y.argmax(),
    "a number": lambda y: y.argmax(1).item(),
    "a list": lambda y: y.argmax(1).tolist(),
    "an array": lambda y: y.detach().numpy(),
    "truth values": lambda y: y > 0,
    "topk": lambda y: y.topk(2, 1),
    "sorted": lambda y: y.sort(1)[1],
    "one-hot": lambda y: F.one_hot(y.argmax(1), 5),
    "compared with numbers": lambda y: (y.argmax(1, keepdim=True) == torch.arange(5)).float(),
    "looked up": lambda y: torch.arange(5.0)[y.argmax(1)],
    "softmax": lambda y: y.softmax(1),
    "confidence": lambda y: y.softmax(1).amax(1),
    "maximum with its index": lambda y: y.max(1),
    "energy": lambda y: -y.logsumexp(1),
    "complex": lambda y: torch.complex(y, -y),
    "nested": lambda y: {"a": [(y,)], "b": None},
    "a data class": lambda y: Found(y),
    "some not a number": lambda y: torch.cat([y, y * float("nan")], 1),
}


@pytest.mark.parametrize("last", LAST.values(), ids=LAST.keys())
def test_classes_are_not_offered_for_cutting(last):
    table = trace(Hidden(last), IMAGES)
    assert {name: group.size for name, group in table.groups.items()} == {"make": 8}


NOTHING = {
    "no numbers at all": (lambda y: None, "no tensors and no numbers"),
    "a text": (lambda y: "cat", "no tensors and no numbers"),
    "not a number": (lambda y: y * float("nan"), "no output for the example is a finite number"),
}


@pytest.mark.parametrize(("last", "told"), NOTHING.values(), ids=NOTHING.keys())
def test_outputs_that_no_trial_can_compare_leave_the_network_whole(last, told):
    table = trace(Hidden(last), IMAGES)
    assert not table.groups
    assert told in table.notes[-1]


def test_channels_that_gates_look_at_are_not_taken_for_classes():
    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.make, self.gate, self.last = nn.Conv2d(3, 6, 1), nn.Conv2d(2, 1, 3, padding=1), nn.Conv2d(6, 2, 1)

        def forward(self, images):
            maps = self.make(images)
            seen = torch.cat([maps.max(1, keepdim=True)[0], maps.mean(1, keepdim=True)], 1)
            return self.last(maps * self.gate(seen).sigmoid())

    assert trace(Attention(), IMAGES).groups["make"].size == 6


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


@pytest.mark.parametrize(("one", "other", "equal"), PAIRS)
def test_outputs_are_compared_by_their_kind(one, other, equal):
    assert same([one], [other]) is equal


def test_outputs_are_found_wherever_they_are():
    module = Hidden(lambda y: {"a": [y, (1, True)], "b": Found(y), "c": 2.5})
    assert sorted(one.numel() for one in outputs(module, IMAGES)) == [1, 1, 1, 5, 5]
