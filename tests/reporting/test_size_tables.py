"""Tables about size and speed."""

from __future__ import annotations

from run_data import result, run_data
from shoestring.reporting.size_tables import size_table


def test_latencies_before_and_after_are_measured_alike():
    """That of the results is measured at another time, with other threads."""
    rows = {row[0]: row[1:] for row in size_table(run_data(result=result(latency_ms=136.0)))[1]}
    assert rows["latency per forward pass"] == ("2.00 ms for a single image", "1.50 ms for a single image")


def test_without_a_comparison_the_latency_is_that_of_the_results():
    rows = {row[0]: row[1:] for row in size_table(run_data(result=result(before_pruning=None), comparison=None))[1]}
    assert rows["latency per forward pass"][0].startswith("1.50 ms")
