"""Tables about size and speed."""

from __future__ import annotations

from run_data import comparison, result, run_data
from shoestring.reporting.size_tables import size_table


def test_latencies_before_and_after_are_measured_alike():
    """That of the results is measured at another time, with other threads."""
    rows = {row[0]: row[1:] for row in size_table(run_data(result=result(latency_ms=136.0))).rows}
    assert rows["latency per forward pass"] == tuple(
        f"{milliseconds} ms for a single image on one thread" for milliseconds in ("2.00", "1.50")
    )


def test_without_a_comparison_the_latency_is_that_of_the_results():
    rows = {row[0]: row[1:] for row in size_table(run_data(result=result(before_pruning=None), comparison=None)).rows}
    assert rows["latency per forward pass"] == (
        "1.50 ms for a single image on one thread (1.25 ms on 4), 0.25 ms in a batch of 64",
    )


def test_runs_of_earlier_versions_do_not_say_on_how_many_threads_they_measured():
    data = comparison()
    points = {name: {"latency_ms": 2.0} for name in ("before", "after")}
    rows = {row[0]: row[1:] for row in size_table(run_data(comparison={**data, "points": points})).rows}
    assert rows["latency per forward pass"] == ("2.00 ms for a single image",) * 2
