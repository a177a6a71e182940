from __future__ import annotations

import pytest

from run_data import result, run_data
from shoestring.reporting.findings import findings


def answers(**changes) -> dict[str, str]:
    return dict(findings(run_data(**changes)))


def test_weakest_class_and_most_frequent_confusion():
    found = answers()
    assert found["Which class is weakest?"].startswith("cat: 80.0 % of its images are recognized (50.0 % to 95.0 %")
    assert found["Which classes are confused most?"].endswith("8 of all 16 mistakes.")


@pytest.mark.parametrize(
    ("accuracy", "interval", "verdict"),
    [(0.7, [0.62, 0.78], "+18.6 points; the intervals do not overlap"), (0.86, [0.8, 0.91], "this may be chance")],
)
def test_selection_is_compared_with_random_images(accuracy, interval, verdict):
    found = answers(result=result(baseline={"accuracy": accuracy, "interval": interval}))
    assert verdict in found["Did choosing images pay?"]
    assert "30 of 120 (25.0 %)" in found["Did choosing images pay?"]


def test_without_a_baseline_the_gain_of_selection_is_unknown():
    assert "--baseline" in answers()["Did choosing images pay?"]
    assert "Did choosing images pay?" not in answers(result=result(select=None))


@pytest.mark.parametrize(("epochs", "verdict"), [(3, "No"), (20, "Nearly"), (80, "Yes")])
def test_epochs_say_whether_more_time_would_help(epochs, verdict):
    found = answers(trainings=[{"steps": 10, "epochs": float(epochs)}])["Was it trained long enough?"]
    assert found.startswith(verdict) and f"{epochs} times" in found


def test_head_alone_was_not_trained_in_steps():
    found = answers(trainings=[{"steps": 0, "epochs": 1.0}])
    assert "Only the head was fitted" in found["Was it trained long enough?"]


def test_cost_of_the_cut():
    assert answers()["What did the cut cost?"] == (
        "MACs -50 %, parameters -50 %; validation accuracy -2.0 points after the cut and its fine-tuning."
    )
    assert "What did the cut cost?" not in answers(result=result(before_pruning=None))


def test_growth_and_cut_are_marked_and_the_proxy_is_no_part_of_the_curve():
    run = run_data()
    assert run.marks == [(20.0, "16 px"), (40.0, "pruned")]
    assert run.loss[0][0] == 2.0 and len(run.validation[0]) == 5
