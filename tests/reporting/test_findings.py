from __future__ import annotations

from dataclasses import replace

import pytest

from run_data import CLASSES, label_run, result, run_data
from shoestring.reporting.findings import findings


def answers(**changes) -> dict[str, str]:
    return dict(findings(run_data(**changes)))


def test_weakest_class_and_most_frequent_confusion():
    found = answers()
    assert found["Which class is weakest?"].startswith("cat: 80.0 % of its images are recognized (50.0 % to 95.0 %")
    assert found["Which two classes are confused most?"].endswith("of all 16 mistakes.")


def test_confusions_of_two_classes_count_in_both_directions():
    cells = [(0, 0, 9), (0, 1, 4), (1, 2, 3), (2, 1, 3)]
    assert answers(cells=cells)["Which two classes are confused most?"] == (
        f"{CLASSES[1]} and {CLASSES[2]}: 3 images of {CLASSES[2]} taken for {CLASSES[1]}, 3 images of {CLASSES[1]} "
        f"taken for {CLASSES[2]}. That is 6 of all 10 mistakes."
    )


def test_interval_of_the_accuracy_is_explained():
    assert answers()["How sure is the accuracy?"].startswith("With 95 % confidence, the true accuracy is from ")
    assert "labels are all right is from" in dict(findings(label_run()))["How sure is the accuracy?"]
    unknown = result(accuracy=None, interval=None)
    assert "How sure is the accuracy?" not in answers(result=unknown)


def test_steps_that_took_longest_are_named():
    ledger = {"load": 1.0, "train": 40.0, "prune": 15.0, "forecast": 0.5, "start": 0.25}
    found = answers(result=result(ledger=ledger, seconds=58.0))["Where did the time go?"]
    assert found == "58.0 s of 1:00: train 40.0 s, prune 15.0 s, load 1.0 s, planning 0.5 s, the rest 1.5 s."


@pytest.mark.parametrize(
    ("accuracy", "interval", "verdict"),
    [(0.7, [0.62, 0.78], "+18.6 points; the intervals do not overlap"), (0.86, [0.8, 0.91], "this may be chance")],
)
def test_selection_is_compared_with_random_images(accuracy, interval, verdict):
    found = answers(result=result(baseline={"accuracy": accuracy, "interval": interval}))
    assert verdict in found["Did choosing images pay?"]
    assert "30 of 120 (25.0 %)" in found["Did choosing images pay?"]


def test_selection_is_compared_with_random_images_by_a_paired_test():
    baseline = {"accuracy": 0.86, "interval": [0.8, 0.91], "difference_interval": [0.01, 0.04]}
    found = answers(result=result(baseline={**baseline, "p_value": 0.01}))["Did choosing images pay?"]
    assert found.endswith("+2.6 points (95 % interval +1.0 to +4.0); more than chance explains.")
    found = answers(result=result(baseline={**baseline, "p_value": 0.2}))["Did choosing images pay?"]
    assert found.endswith("this may be chance.")


def test_without_a_baseline_the_gain_of_selection_is_unknown():
    assert "--baseline" in answers()["Did choosing images pay?"]
    assert "Did choosing images pay?" not in answers(result=result(select=None))
    assert answers(result=result(select="random"))["Did choosing images pay?"].endswith("were drawn at random.")


@pytest.mark.parametrize(("epochs", "verdict"), [(3, "No"), (20, "Nearly"), (80, "Yes")])
def test_epochs_say_whether_more_time_would_help(epochs, verdict):
    found = answers(trainings=[{"steps": 10, "epochs": float(epochs)}])["Was it trained long enough?"]
    assert found.startswith(verdict) and f"{epochs} times" in found


def test_head_alone_was_not_trained_in_steps():
    found = answers(trainings=[{"steps": 0, "epochs": 1.0}])
    assert "Only the head was fitted" in found["Was it trained long enough?"]


def test_cost_of_the_cut():
    assert answers()["What did the cut cost?"] == (
        "MACs -50 %, parameters -50 %; validation accuracy -2.0 points after the cut and its fine-tuning; a single "
        "image on one thread took 2.00 ms before, and 1.50 ms after the cut."
    )
    assert "What did the cut cost?" not in answers(result=result(before_pruning=None))


def test_doubts_about_labels_and_test_images():
    found = answers()
    assert found["Are there wrong labels?"] == "None of the 1 most confident mistakes looks like it."
    assert found["Is the test fair?"] == "Not entirely: 1 of 140"
    marked = replace(run_data().gallery.mistakes[0], note="label may be wrong")
    gallery = replace(run_data().gallery, mistakes=[marked], duplicates=[])
    found = answers(gallery=gallery)
    assert found["Are there wrong labels?"].startswith("Perhaps: 1 of the 1 most confident mistakes")
    assert found["Is the test fair?"].startswith("Yes")


def test_weakest_label():
    found = dict(findings(label_run()))
    assert found["Which label is weakest?"].count("average precision of 60.0 %") == 1
    assert found["Which labels are wrong most often?"].startswith("cat is missed most often, on 10 of 40 images")
    assert "Are there wrong labels?" not in found


def test_growth_and_cut_are_marked_and_the_proxy_is_no_part_of_the_curve():
    run = run_data()
    assert run.marks == [(20.0, "16 px"), (40.0, "pruned")]
    assert run.loss[0][0] == 2.0 and len(run.validation[0]) == 5


def test_a_run_that_is_not_finished_is_not_judged_by_its_length():
    assert "Was it trained long enough?" not in answers(unfinished="running")


def test_a_change_while_training_went_on_is_not_attributed():
    before = {"params": 12_000, "macs": 1_000_000, "validation": 0.99, "finished": False}
    text = answers(result=result(before_pruning=before))["What did the cut cost?"]
    assert "points, after training that went on" in text
