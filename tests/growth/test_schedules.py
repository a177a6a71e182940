from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shoestring.config.recipe import Grow
from shoestring.config.stages import Stages
from shoestring.errors import UserError
from shoestring.growth import Stage
from shoestring.growth.compose import compose, stages_of
from shoestring.growth.image_size import cannot_shrink
from shoestring.growth.schedules.constant import constant
from shoestring.growth.schedules.depth import depth
from shoestring.growth.schedules.resolution import resolution
from shoestring.growth.schedules.width import width


def test_constant_does_not_change():
    assert {constant(spent / 10) for spent in range(11)} == {Stage(1.0)}


def test_resolution_is_smaller_at_first():
    assert [resolution(spent).resolution for spent in (0.0, 0.49, 0.5, 1.0)] == [0.75, 0.75, 1.0, 1.0]
    assert resolution(0.6, smallest=0.5, until=0.7) == Stage(0.5)


def test_width_is_smaller_at_first():
    assert [width(spent).width for spent in (0.0, 0.34, 0.35, 1.0)] == [0.5, 0.5, 1.0, 1.0]
    assert width(0.6, narrowest=0.25, until=0.7) == Stage(1.0, 0.25)


def test_depth_is_smaller_at_first():
    assert [depth(spent).depth for spent in (0.0, 0.34, 0.35, 1.0)] == [0.5, 0.5, 1.0, 1.0]
    assert depth(0.6, shallowest=0.25, until=0.7) == Stage(1.0, 1.0, 0.25)


def test_combined_schedules_take_the_minimum():
    both = compose("resolution,width", {"until": "0.4", "narrowest": "0.25"})
    assert [both(spent) for spent in (0.0, 0.3, 0.4)] == [Stage(0.75, 0.25), Stage(0.75, 0.25), Stage()]
    assert stages_of(compose("width,resolution")) == {Stage(0.75, 0.5): 0.35, Stage(0.75): 0.15, Stage(): 0.5}
    assert stages_of(compose("constant")) == {Stage(): 1.0}
    every = compose("resolution,width,depth", {"narrowest": 0.4, "shallowest": 0.3})
    assert list(stages_of(every)) == [Stage(0.75, 0.4, 0.3), Stage(0.75), Stage()]


@pytest.mark.parametrize(
    ("method", "options", "stages", "message"),
    [
        ("resolution,widht", {}, None, "Did you mean 'width'"),
        ("resolution,width", {"untill": 1}, None, "Did you mean 'until'"),
        ("width", {"smallest": 0.5}, None, "'width'"),
        ("width", {"narrowest": 2}, None, "above 0 and up to 1, not 2"),
        ("width", {"until": 1.5}, None, "--grow width must end with the whole network"),
        (
            "depth",
            {"shallowest": 0},
            None,
            "of a stage are fractions above 0 and up to 1, not 0",
        ),
        ("depth", {"until": 2}, None, "--grow depth must end with the whole network"),
        ("width", {}, "1@1", "omit --grow"),
        ("auto", {"until": 1}, "1@1", "omit --grow"),
        ("auto", {"until": 1}, None, "'until' is an option of a growth schedule: name one with --grow"),
        ("auto", {}, "0.5,1@1", "'0.5' is not a stage: write WIDTH@RESOLUTION"),
        ("auto", {}, "0.5@0.5", "end '0.5@0.5' with 1@1"),
        ("auto", {}, "0.5@1,1@0.5,1@1", "can only grow"),
        ("auto", {}, "1@1@1@1,1@1", "'1@1@1@1' is not a stage: .* WIDTH@RESOLUTION@DEPTH"),
        ("auto", {}, "1@1@0.5", "end '1@1@0.5' with 1@1"),
        ("auto", {}, "1@0.5,1@1@0.5,1@1", "can only grow"),
        ("auto", {}, "1@1@1.5,1@1", "above 0 and up to 1, not 1.5"),
        ("auto", {}, "0.5@0.5:0.5,1@1:0.4", "add up to 1"),
        ("auto", {}, "0.5@0.5:1,1@1", "add up to 1"),
        ("auto", {}, "0.5@0.5:0,1@1", "above 0 and add up to 1"),
        ("auto", {}, "0@1,1@1", "above 0 and up to 1, not 0"),
        ("auto", {}, "2@1,1@1", "above 0 and up to 1, not 2"),
        ("auto", {}, "", "is not a stage"),
    ],
)
def test_user_errors(method, options, stages, message):
    with pytest.raises(UserError, match=message):
        grow = Grow(method, stages, options)
        compose(grow.stages or grow.method, grow.options)


def test_stages_without_a_fraction_divide_the_rest_equally():
    schedule = compose(Stages.parse("0.5@0.5, 0.5@.75:0.5 ,1@1"))
    assert [schedule(spent) for spent in (0.0, 0.24, 0.26, 0.74, 0.76, 1.0)] == [
        Stage(0.5, 0.5),
        Stage(0.5, 0.5),
        Stage(0.75, 0.5),
        Stage(0.75, 0.5),
        Stage(),
        Stage(),
    ]
    assert list(stages_of(compose(Stages.parse("1@1")))) == [Stage()]


def test_depth_is_the_third_part_of_a_stage():
    schedule = compose(Stages.parse("0.5@.75@0.25:0.2, 1@0.75 @ 0.5,1@1"))
    assert list(stages_of(schedule)) == [Stage(0.75, 0.5, 0.25), Stage(0.75, 1.0, 0.5), Stage()]
    assert [schedule(spent).depth for spent in (0.0, 0.19, 0.21, 0.59, 0.61)] == [0.25, 0.25, 0.5, 0.5, 1.0]
    assert list(stages_of(compose(Stages.parse("1@1@0.5,1@1@1:0.7")))) == [Stage(depth=0.5), Stage()]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 9)), max_size=5), st.floats(0, 1))
def test_explicit_stages_take_equal_fractions_in_order(sizes, spent):
    widths, sides = sorted(w for w, _ in sizes), sorted(s for _, s in sizes)
    text = ",".join([*(f"0.{w}@0.{s}" for w, s in zip(widths, sides)), "1@1"])
    stage = compose(Stages.parse(text))(spent)
    index = min(int(spent * (len(sizes) + 1) + 1e-9), len(sizes))
    near = {max(index - 1, 0), index}  # at a boundary, rounding may give either stage
    every = [Stage(s / 10, w / 10) for w, s in zip(widths, sides)] + [Stage()]
    assert stage in [every[one] for one in near]


@pytest.mark.parametrize("stages", ["0.5@0.5:0.0004,1@1", "0.5@0.5,1@1:0.0004"])
def test_short_stages_are_listed(stages):
    first, last = stages_of(compose(Stages.parse(stages)))
    assert (first, last) == (Stage(0.5, 0.5), Stage())


def test_images_that_are_too_small_to_shrink():
    schedule = compose("resolution")
    assert cannot_shrink(schedule, 8)
    assert not cannot_shrink(schedule, 32)
    assert not cannot_shrink(compose("width"), 8)
