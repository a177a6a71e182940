from __future__ import annotations

from typing import Any, Literal

import pytest

from shoestring.config.values import coerce, limited
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
def test_values_become_what_the_type_says(value, kind, expected):
    found = coerce(value, kind, "x")
    assert found == expected
    assert type(found) is type(expected)


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
        ("eqal", Literal["equal", "none"], "unknown value of examples 'eqal'. Did you mean 'equal'?"),
        (3, dict[str, Any], "examples must be a mapping"),
    ],
)
def test_values_that_do_not_fit_are_named(value, kind, message):
    with pytest.raises(UserError) as caught:
        coerce(value, kind, "examples")
    assert message in str(caught.value)


def test_a_mapping_is_copied():
    given = {"a": 1}
    assert coerce(given, dict[str, int], "x") is not given


@pytest.mark.parametrize("value", [float("inf"), -float("inf")])
def test_what_is_infinite_is_within_no_limits(value):
    with pytest.raises(UserError, match="must be finite"):
        limited(value, "it", least=0)
