from __future__ import annotations

import pytest
import torch

from shoestring.channels import trace
from shoestring.models.architectures.resnet import resnet20
from shoestring.pruning.limits import Limit
from shoestring.pruning.rounding import round_channels

TABLE = trace(resnet20(5).eval(), torch.randn(1, 3, 16, 16))
SCORES = TABLE.split(torch.rand(TABLE.size, generator=torch.Generator().manual_seed(0)))
NAMES = [name for name, group in TABLE.groups.items() if group.size == 64][:2]


def _kept(**counts: int) -> dict[str, torch.Tensor]:
    sizes = {name: group.size for name, group in TABLE.groups.items()} | counts
    return {name: SCORES[name].argsort(descending=True)[:count].sort().values for name, count in sizes.items()}


@pytest.mark.parametrize(
    ("count", "multiple", "expected"), [(1, 8, 8), (11, 8, 8), (12, 8, 16), (17, 4, 16), (63, 8, 64), (64, 8, 64)]
)
def test_numbers_are_rounded_to_the_nearest_multiple(count, multiple, expected):
    rounded = round_channels(_kept(**{NAMES[0]: count}), multiple, SCORES, TABLE)
    assert len(rounded[NAMES[0]]) == expected
    assert set(rounded[NAMES[0]].tolist()) == set(SCORES[NAMES[0]].topk(expected).indices.tolist())
    assert all(len(own) == TABLE.groups[name].size for name, own in rounded.items() if name != NAMES[0])


def test_numbers_are_rounded_down_where_a_limit_would_be_exceeded():
    kept = _kept(**{NAMES[0]: 13, NAMES[1]: 3})
    limit = Limit("MACs", TABLE.macs(kept), TABLE.macs)
    rounded = round_channels(kept, 8, SCORES, TABLE, limits=[limit])
    assert (len(rounded[NAMES[0]]), len(rounded[NAMES[1]])) == (8, 3)
    assert limit.fits(rounded)


def test_numbers_are_rounded_up_again_where_the_limits_allow_it():
    kept = _kept(**{NAMES[0]: 22, NAMES[1]: 15})  # nearest: 24 and 16
    limit = Limit("MACs", TABLE.macs(_kept(**{NAMES[0]: 16, NAMES[1]: 16})), TABLE.macs)
    rounded = round_channels(kept, 8, SCORES, TABLE, limits=[limit])
    assert (len(rounded[NAMES[0]]), len(rounded[NAMES[1]])) == (16, 16)


def test_few_channels_are_not_rounded_up_where_a_limit_would_be_exceeded():
    kept = _kept(**{NAMES[0]: 13, NAMES[1]: 5})
    limit = Limit("MACs", TABLE.macs(_kept(**{NAMES[0]: 8, NAMES[1]: 8})), TABLE.macs)
    rounded = round_channels(kept, 8, SCORES, TABLE, limits=[limit])
    assert (len(rounded[NAMES[0]]), len(rounded[NAMES[1]])) == (8, 5)


def test_fixed_numbers_stay():
    rounded = round_channels(_kept(**{NAMES[0]: 13, NAMES[1]: 13}), 8, SCORES, TABLE, fixed=[NAMES[0]])
    assert (len(rounded[NAMES[0]]), len(rounded[NAMES[1]])) == (13, 16)
