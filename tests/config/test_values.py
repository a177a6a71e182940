from __future__ import annotations

from typing import Any, Literal

import pytest

from shoestring.config.values import check_range, coerce
from shoestring.errors import UserError


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        ("1_000", int, 1000),
        ("1,000", int, 1000),
        (3, int, 3),
        ("1e-3", float, 0.001),
        (1, float, 1.0),
        (0.5, str, "0.5"),
        ("True", bool, True),
        (False, bool, False),
        ("l2", Literal["l1", "l2"], "l2"),
        (None, int | None, None),
        ("5", int | None, 5),
        ({"a": 1}, dict[str, Any], {"a": 1}),
    ],
)
def test_values_are_converted_to_the_type(value, kind, expected):
    result = coerce(value, kind, "x")
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("value", "kind", "message"),
    [
        ("many", int, "examples must be an integer, not 'many'"),
        (1.5, int, "examples must be an integer, not '1.5'"),
        (True, int, "examples must be an integer, not 'True'"),
        (None, float, "examples must be a number, not 'None'"),
        ("maybe", bool, "examples must be a truth value"),
        (1, bool, "examples must be a truth value"),
        ([1], float, "examples must be a number"),
        (True, str, "examples must be text"),
        ("eqal", Literal["equal", "none"], "examples must be equal or none, not 'eqal'. Did you mean 'equal'?"),
        (3, dict[str, Any], "examples must be a mapping"),
    ],
)
def test_values_that_cannot_be_converted_are_named(value, kind, message):
    with pytest.raises(UserError) as caught:
        coerce(value, kind, "examples")
    assert message in str(caught.value)


def test_a_mapping_is_copied():
    given = {"a": 1}
    assert coerce(given, dict[str, int], "x") is not given


@pytest.mark.parametrize("value", [float("inf"), -float("inf")])
def test_infinite_values_are_out_of_range(value):
    with pytest.raises(UserError, match="must be finite"):
        check_range(value, "it", ge=0)
