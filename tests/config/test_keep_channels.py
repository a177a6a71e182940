from __future__ import annotations

import pytest

from shoestring.config.keep_channels import parse_keep_channels
from shoestring.config.units import Size
from shoestring.errors import UserError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("0.5", 0.5),
        (1, 1.0),
        ("conv1=0.75,layer2=0.5", {"conv1": 0.75, "layer2": 0.5}),
        ({"conv1": "0.75"}, {"conv1": 0.75}),
    ],
)
def test_fractions(given, expected):
    assert parse_keep_channels(given) == expected


@pytest.mark.parametrize("given", ["half", "0", "1.5", "conv1=", "=0.5", "a=0.5,a=0.5", "a=0.5,0.5", True, {"a": None}])
def test_anything_else_is_refused(given):
    with pytest.raises(UserError, match="not a fraction of channels to keep: write"):
        parse_keep_channels(given)


@pytest.mark.parametrize(
    ("given", "value"), [("300kB", 3e5), ("2MB", 2e6), ("1.5M", 1.5e6), ("2000B", 2000), (4000, 4000)]
)
def test_sizes_in_bytes(given, value):
    size = Size.parse_bytes(given, what="--file-size")
    assert (size.value, size.is_fraction, str(size)) == (value, False, str(given))


def test_a_file_size_may_be_a_fraction():
    assert Size.parse_bytes("0.5", what="--file-size").of(1000) == 500


@pytest.mark.parametrize("given", ["big", "300XB", "2", "1.5"])
def test_other_sizes_are_refused(given):
    with pytest.raises(UserError, match=f"'{given}' is not a size for --file-size: write .*300kB"):
        Size.parse_bytes(given, what="--file-size")
