from __future__ import annotations

from run_data import ticket_result
from shoestring.reporting.ticket_page import ticket_chart, ticket_page


def test_page_has_curves_table_and_notes():
    text = ticket_page(ticket_result(), ticket_chart(ticket_result()))
    assert "A lottery ticket with 64 % of the weights".replace(" %", "\u00a0%") in text
    assert 'id="chart-tickets-' in text and "conv2 &lt;b&gt;" in text and "<b>" not in text
    for part in (
        "Masks give no speed",
        "a random mask that keeps as many of",
        "300 test images",
        "64\u00a0%",
    ):
        assert part in text


def test_experiments_without_a_ticket_or_measured_accuracies():
    result = ticket_result()
    dense = next(row for row in result["rows"] if row["network"] == "dense")
    assert "No lottery ticket is as accurate" in ticket_page({**result, "winner": dense}, None)
    summary = [{**entry, "mean": None, "min": None, "max": None, "interval": None} for entry in result["summary"]]
    assert ticket_chart({**result, "summary": summary}) is None
    assert "<svg" not in ticket_page({**result, "summary": summary}, None)
