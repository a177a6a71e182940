from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.config.units import Bytes, Duration, Flops, Size, format_seconds, parse_quantity, parse_seconds
from shoestring.errors import UserError


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59), st.booleans())
def test_units_of_time_add_up(hours, minutes, rest, spaced):
    text = (" " if spaced else "").join([f"{hours}h", f"{minutes}m", f"{rest}s"])
    total = hours * 3600 + minutes * 60 + rest
    if total:
        assert parse_seconds(text) == total
        assert parse_seconds(total) == parse_seconds(str(total)) == total
    else:
        with pytest.raises(UserError):
            parse_seconds(text)


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("1.5m", 90), ("500ms", 0.5), ("2d", 172800), ("5 min", 300), (0.25, 0.25)]
)
def test_times_have_units(text, expected):
    assert parse_seconds(text) == expected


@given(st.floats(1e-30, 1e30))
def test_text_of_a_parsed_number_is_parsed_to_the_same_number(number):
    for kind in (Duration, Flops, Bytes):
        assert kind(str(kind(number))) == kind(number) == number
    assert parse_seconds(str(number)) == number
    fraction = min(number, 1.0)
    assert Size.parse(str(Size.parse(fraction, what="x")), what="x") == Size.parse(fraction, what="x")


def test_numbers_of_numpy_are_times():
    assert parse_seconds(np.int64(60)) == Duration(np.int64(60)) == 60
    assert parse_seconds(np.float32(0.5)) == 0.5
    assert parse_quantity(np.float32(0.5)) == 0.5


@given(st.text())
def test_any_other_text_raises_an_error_that_quotes_it(text):
    for parse in (parse_seconds, parse_quantity):
        try:
            value = parse(text)
        except UserError as error:
            assert repr(text)[1:-1] in repr(str(error))[1:-1] or "'" in text
        else:
            assert 0 < value < math.inf


@pytest.mark.parametrize("text", ["", "5x", "1m30", "-5m", "m", "5m!", "0s", 0, -1, math.inf, math.nan, "1e5s"])
def test_invalid_times_raise_an_error(text):
    with pytest.raises(UserError, match="time"):
        parse_seconds(text)


@given(st.floats(1e-3, 1e6), st.sampled_from([("", 1), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("P", 1e15)]))
def test_quantities_have_suffixes(number, scale):
    letter, factor = scale
    assert parse_quantity(f"{number!r}{letter}") == pytest.approx(number * factor)
    assert parse_quantity(number) == number


@pytest.mark.parametrize("text", ["", "k", "-1", "0", "5x", "1 2", "nan", "inf", "1e400"])
def test_invalid_quantities_raise_an_error_that_names_them(text):
    with pytest.raises(UserError, match="is not a number of crumbs"):
        parse_quantity(text, what="number of crumbs")


def test_seconds_are_formatted_for_people():
    assert [format_seconds(8.34), format_seconds(291), format_seconds(3729)] == ["8.3 s", "4:51", "1:02:09"]
