from __future__ import annotations

from shoestring.grow import Stage
from shoestring.grow.constant import constant
from shoestring.grow.resolution import resolution


def test_constant_never_changes():
    assert {constant(spent / 10) for spent in range(11)} == {Stage(1.0)}


def test_resolution_is_smaller_until_its_time():
    assert [resolution(spent).resolution for spent in (0.0, 0.49, 0.5, 1.0)] == [0.75, 0.75, 1.0, 1.0]
    assert resolution(0.6, smallest=0.5, until=0.7) == Stage(0.5)
