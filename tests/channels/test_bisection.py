from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from shoestring.channels.bisection import find_failing

NAMES = [f"g{index}" for index in range(12)]


@given(failing=st.sets(st.sampled_from(NAMES)))
def test_names_that_fail_alone_are_found(failing):
    assert find_failing(NAMES, lambda names: failing.isdisjoint(names)) == failing


@given(
    failing=st.sets(st.sampled_from(NAMES), max_size=3),
    pairs=st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=4),
)
def test_the_rest_always_passes_together(failing, pairs):
    pairs = {(a, b) for a, b in pairs if a != b}

    def passes(names: list[str]) -> bool:
        return failing.isdisjoint(names) and not any(a in names and b in names for a, b in pairs)

    excluded = find_failing(NAMES, passes)
    rest = [name for name in NAMES if name not in excluded]
    assert passes(rest)
    assert failing <= excluded <= failing.union(*pairs)


def test_one_trial_is_enough_if_all_pass():
    trials = []
    assert find_failing(NAMES, lambda names: not trials.append(names)) == set()
    assert trials == [NAMES]
