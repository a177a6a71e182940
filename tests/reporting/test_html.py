from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from run_data import CLASSES, comparison, label_run, result, run_data, unfinished_run
from shoestring.reporting.html import run_page
from shoestring.reporting.pictures import Gallery
from shoestring.reporting.run_charts import Charts

VOID = {"meta", "link", "img", "br", "use", "path"}


class Page(HTMLParser):
    """Collects ids, links, texts and attributes, and checks that elements are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.links: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        assert self._open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [value for name, value in attrs if name in ("href", "xlink:href", "src")]
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag):
        if tag not in VOID:
            assert self._open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


@pytest.fixture(scope="module")
def text() -> str:
    return run_page(run_data())


def test_names_are_escaped_everywhere(text):
    page = Page(text)
    assert "script" not in page.tags and "b" not in page.tags
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert "\u202e" not in text and any("\\u202e" in one for one in page.texts)
    assert any(CLASSES[1] in one for one in page.texts)


def test_page_is_one_file(text):
    page = Page(text)
    assert {link.partition(":")[0] for link in page.links if not link.startswith("#")} == {"data"}
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert "http-equiv" in text and len(text) < 500_000


def test_all_parts_of_the_run_are_on_the_page(text):
    page = " ".join(Page(text).texts)
    expected = ("Accuracy 88.6\u00a0%", "a class is never predicted", "Which class is weakest?", "Where the time went")
    expected += ("Over all classes: balanced accuracy, macro F1: 89.0", "Of validation images", "Validation accuracy")
    expected += ("Accuracy per class", "Can its probabilities be trusted?", "2.50 ms on 4")
    expected += (
        "Channels per layer",
        "predicted as",
        "Chosen images",
        "as <b>requested</b>",
        "data: digits",
        "-50\u00a0%",
    )
    expected += ("shoestring run --recipe 'runs/a b'/recipe.yaml",)
    assert [part for part in expected if part not in page] == []
    parts = (
        "Before and after pruning",
        "Where it looks",
        "as the network sees them",
        "Latency per layer",
        "Clusters of filters",
        "64 to 32",
    )
    assert [part for part in parts if part not in page] == []
    assert 'href="#confusion-0-1"' in text and 'id="confusion-0-1"' in text


def test_charts_have_alternative_texts(text):
    charts = re.findall(r'<svg role="img" aria-label="([^"]+)"', text)
    assert len(charts) == 9 and all(len(label) > 40 for label in charts)
    assert "var(--series-1)" in text and "#0072b2;" not in text.replace("--series-1: #0072b2;", "")


def test_page_without_time_for_charts_says_so():
    text = run_page(run_data(), Charts({}, complete=False))
    assert "<svg" not in text and "Left out, for lack of time: some charts." in text
    late = run_page(run_data(gallery=replace(Gallery.empty(), late=("maps of where it looks",))))
    assert "for lack of time: maps of where it looks." in late


def test_what_pruning_changed_is_told_with_intervals(text):
    page = " ".join(Page(text).texts)
    entry = comparison()["per_class"][0]
    low, high = entry["interval"]
    assert f"{100 * low:+.1f} to {100 * high:+.1f}" in page and f"{100 * entry['change']:+.1f}" in page
    assert "Lost more than chance explains, given the number of classes: cat." in page


def test_page_of_several_labels():
    text = run_page(label_run())
    page = " ".join(Page(text).texts)
    expected = ("Mean average precision 70.0", "Which label is weakest?", "Recall per label", "average precision")
    expected += ("is missed most often, on 10 of 40 images", "A label is predicted")
    assert [part for part in expected if part not in page] == []
    assert "Confusion matrix" not in page and "None" not in page


def test_page_of_a_run_that_did_not_finish():
    text = run_page(unfinished_run())
    page = " ".join(Page(text).texts)
    assert "Not finished: validation accuracy 51.0" in page and "this page shows it after 8 s." in page
    assert 'id="classes"' not in text and 'id="mistakes"' not in text and "None" not in page


def test_page_of_a_run_without_test_images_selection_or_pruning():
    unknown = dict.fromkeys(("accuracy", "interval", "balanced_accuracy", "macro_f1", "loss", "calibration_error"))
    per_class = {name: {"images": 0, "recall": None, "precision": None, "f1": None} for name in CLASSES}
    values = result(**unknown, per_class=per_class, images=0, before_pruning=None, select=None, validation=None)
    intervals = dict.fromkeys(CLASSES)
    empty = {"cells": (), "reliability": (), "layers": {}, "gallery": Gallery.empty(), "plan": None, "history": ()}
    empty |= {"comparison": None, "layer_costs": {}, "clusters": {}}
    text = run_page(run_data(result=values, intervals=intervals, trainings=[], **empty))
    Page(text)
    assert "Accuracy not measured" in text and "None" not in text


def test_confusion_matrix_of_many_classes_is_a_list():
    names = [f"class {number}" for number in range(40)]
    per_class = {name: {"images": 10, "recall": 0.8, "precision": 0.8, "f1": 0.8} for name in names}
    cells = [(number, number, 8) for number in range(40)] + [(7, 9, 2)]
    data = run_data(result=result(per_class=per_class), cells=cells, intervals=dict.fromkeys(names, (0.5, 0.9)))
    text = run_page(run_data(**{**vars(data), "gallery": Gallery.empty()}))
    assert "Most frequent confusions" in text and 'class="confusion"' not in text
    assert "<td>class 7</td><td>class 9</td><td>2</td><td>20.0\u00a0%</td>" in text
