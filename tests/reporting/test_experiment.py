from __future__ import annotations

import re

import pytest

from experiment_data import LISTS, MISSING, RANGES, experiment_result
from shoestring.reporting.experiment import experiment_page, headline, notes
from shoestring.reporting.experiment_tables import tables


def text_of(result) -> str:
    """All sentences about an experiment, below its tables included."""
    return " ".join([headline(result), *notes(result), *(one.text for one in tables(result))])


def table_of(result, title: str):
    return next(one for one in tables(result) if title in one.title)


def test_seeds():
    several, one = (experiment_result(None, seeds=3, finished=count) for count in (3, 1))
    assert "mean of 3 seeds" in headline(several) and "mean over seeds" in text_of(several)
    assert "one seed" in headline(one) and "mean" not in text_of(one) and "2 runs were left out" in text_of(one)
    two = experiment_result(None, seeds=3, finished=2)
    assert "1 run was left out" in text_of(two)


def test_the_test_split_is_only_said_to_be_used_if_it_was():
    tested, untested = experiment_result(), experiment_result(tested=False)
    assert "test accuracy 61.0 %" in headline(tested) and "test images were used once" in text_of(tested)
    assert headline(untested).startswith(f"{untested['chosen']}: validation accuracy")
    assert "no test images were used" in text_of(untested) and "used once" not in text_of(untested)


def test_intervals_are_said_to_be_what_they_are():
    assert "Intervals are of the accuracy of one run on these validation images" in text_of(experiment_result())
    assert "mean over seeds." in text_of(experiment_result(seeds=2))
    text = text_of(experiment_result(over={"train.width": [1, 2]}, seeds=2, finished=3))
    assert "mean over seeds; that of a combination with one run is of its accuracy on these validation images" in text
    folds = text_of(experiment_result(over={"train.width": [1, 2]}, folds=3))
    assert "mean over folds, widened" in folds and "cross-validation of 3 folds" in folds and "seeds" not in folds


def test_few_validation_images_are_mentioned():
    few = "validation images can hardly tell combinations apart. With --folds 5"
    assert f"40 {few}" in text_of(experiment_result(images=40))
    assert few not in text_of(experiment_result()) and few not in text_of(experiment_result(images=40, folds=3))


def test_rounds_of_halving():
    result = experiment_result(halving=3, accuracy=lambda values, trial: 0.5 + 0.01 * trial.setting)
    assert sum(result["rounds"]) == 17 and "17 runs on photos" in experiment_page(result, charts=False)
    text = text_of(result)
    assert "different rounds cannot be compared" in text and "in the first round" in text
    assert "complete in the last round, so there are no pairs" in text
    assert "round" not in text_of(experiment_result())


def test_failed_runs_are_named_and_not_drawn():
    result = experiment_result(against="macs")
    [failed] = [row for row in table_of(result, "Combinations").rows if row[-1] == MISSING]
    assert failed[2:] == ["-"] * 5 + [MISSING] and result["runs"] == 11
    assert "method=random" in failed[1]


def test_best_values_of_ranges_are_thirds():
    result = experiment_result(RANGES, search="random", trials=40)
    rows = {row[0]: row for row in table_of(result, "What mattered").rows}
    best = rows["train.learning_rate"][2]
    low, high = map(float, re.match(r"([\d.]+) to ([\d.]+) \(", best).groups())  # type: ignore[union-attr]
    values = sorted(row["settings"]["train.learning_rate"] for row in result["rows"] if row["accuracy"] is not None)
    assert high == values[-1] and low == values[26] and rows["train.model"][2].split()[0] in ("convnet", "conv2")
    assert "third of the combinations" in text_of(result) and "third" not in text_of(experiment_result())


def test_accuracy_of_several_labels_is_explained():
    text = "Accuracy is the fraction of images whose labels are all right."
    assert text in notes(experiment_result(task="multi-label")) and text not in notes(experiment_result())


@pytest.mark.parametrize("settings", [{}, {"seeds": 2}, {"against": "macs"}, {"over": RANGES, "search": "random"}])
def test_rows_of_charts_have_different_names(settings):
    page = experiment_page(experiment_result(**settings))
    for chart in re.findall(r"<figure.*?</figure>", page, re.DOTALL):
        names = re.findall(r'id="[^"]*ytick_\d+".*?<text[^>]*>(.*?)</text>', chart, re.DOTALL)
        assert len(set(names)) == len(names)
    assert ("Numbers are ranks in the table." in page) == ("over" not in settings)


def test_short_names_are_written_out():
    page = experiment_page(experiment_result({"train.width": [0.5, 1], "train.dropout": [0, 0.5]}))
    assert ">width=0.5 dropout=0<" in page and "ranks" not in page
    page = experiment_page(experiment_result({"train.learning_rate": [0.05, 0.1], "train.label_smoothing": [0, 0.5]}))
    assert ">0.05, 0.5<" in page and "Names are the values of learning_rate, label_smoothing." in page


def test_long_texts_may_wrap():
    combinations = table_of(experiment_result(), "Combinations")
    assert {combinations.header[index] for index in combinations.wide} == {"settings", ""}
    assert 'class="wide">learning_rate=0.2' in experiment_page(experiment_result(LISTS), charts=False)
