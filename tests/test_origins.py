"""The recipes in recipes/origins/ run from end to end, and docs/origins.md has the rows that were measured."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import timm
import torch

from origins_benchmark import ROOT, measured, origins, origins_arms, origins_filters, origins_page
from shoestring.data import Dataset
from shoestring.models import timm as networks
from shoestring.planning import model as planning
from shoestring.selection import Subset

RECIPES = ROOT / "recipes" / "origins"
SMALL = ("--batch-size", 2, "--device", "cpu", "--no-report")
FEW = ("--examples", 12, "--epochs", 2, *SMALL)


@pytest.fixture(scope="module")
def photos(tmp_path_factory, make_images):
    """A file of small color images in three classes."""
    file = tmp_path_factory.mktemp("photos") / "photos.npz"
    train, test = (make_images(count, side=16, channels=3, seed=seed) for count, seed in ((60, 0), (18, 1)))
    np.savez(file, images=train.pixels, labels=train.labels, test_images=test.pixels, test_labels=test.labels)
    return file


@pytest.fixture
def random_weights(monkeypatch):
    """Random weights in place of pretrained ones, and a small input."""
    create = timm.create_model
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained=False, **how: create(name, **how))
    monkeypatch.setattr(networks, "_weights_source", lambda name: {})
    monkeypatch.setattr(planning, "DEFAULT_SIDE", 32)


def test_coreset(call, photos, tmp_path, random_weights):
    signals, words = tmp_path / "proxy.npz", ("--recipe", RECIPES / "coreset.yaml", *FEW, "--proxy-epochs", 8)
    result = call("run", photos, *words, "--signals", signals, "--out", tmp_path / "frozen")
    assert (result["examples"], result["select"], result["model"]) == (12, "forgetting", "timm:resnet50")
    hardest = ("--method", "forgetting", "--order", "hardest", "--balance", "none", "--examples", 12)
    call("select", photos, *hardest, "--signals", signals, "--out", tmp_path / "hardest")  # trains nothing
    first, last = (Subset.load(tmp_path / name / "select" / "subset.json").indices for name in ("frozen", "hardest"))
    assert not set(first) & set(last)


def test_mini_with_an_extractor_that_is_trained_or_loaded_and_with_indices(call, photos, tmp_path):
    runs, signals = {}, tmp_path / "extractor.npz"
    for name, words in {
        "trained": ("mini-simple", "--signals", signals, "--proxy-epochs", 8, *FEW),
        "loaded": ("mini-advanced", "--signals", signals, *FEW),
        "indices": ("mini-two-outputs", "--subset", tmp_path / "trained", "--epochs", 2, *SMALL),
    }.items():
        recipe = ("--recipe", RECIPES / f"{words[0]}.yaml", "--width", 0.125)
        runs[name] = call("run", photos, *recipe, *words[1:], "--out", tmp_path / name)
    assert {run["examples"] for run in runs.values()} == {12}
    assert runs["trained"]["select"] == "diversity" and runs["indices"]["options"]["head"] == "dual"


def test_filter_pruning(call, photos, tmp_path):
    words = ("--recipe", RECIPES / "filter-pruning.yaml", "--width", 0.25, "--epochs", 1, *SMALL)
    result = call("run", photos, *words, "--out", tmp_path / "shared")
    assert result["before_pruning"]["params"] == result["params"] and result["options"]["shortcut"] == "A"


def test_progressive_training(call, photos, tmp_path, every_step):
    recipe = tmp_path / "progressive.yaml"
    recipe.write_text((RECIPES / "progressive.yaml").read_text().replace("time: 30m", "epochs: 1"))
    result = call("run", photos, "--recipe", recipe, "--width", 0.125, *SMALL, "--out", tmp_path / "grown")
    history = [json.loads(line) for line in (tmp_path / "grown" / "history.jsonl").read_text().splitlines()]
    assert result["model"] == "resnet18"
    assert all(len({row[name] for row in history if name in row}) > 1 for name in ("width", "side"))


def test_scenes(call, photos, tmp_path, random_weights):
    for name in ("scenes-cnn", "scenes-densenet121", "scenes-resnet18"):
        size = ("--resolution", 16) if name == "scenes-cnn" else ()
        words = (photos, "--recipe", RECIPES / f"{name}.yaml", "--epochs", 1.25, *SMALL, *size)
        assert call("run", *words, "--out", tmp_path / name)["examples"] == 54
    tickets = ("--recipe", RECIPES / "scenes-tickets.yaml", "--epochs", 1.25, "--levels", 1, "--batch-size", 2)
    tickets += ("--controls", "random", "--device", "cpu")
    result = call("tickets", photos, *tickets, "--out", tmp_path / "tickets")
    assert {row["network"] for row in result["rows"]} == {"dense", "ticket", "random"}


def test_kernels_within_filters_are_clustered(make_images, make_model):
    images = make_images(side=16, channels=3)
    model = make_model(images, "resnet20", width=0.5)
    one, every = (origins_filters.cluster_kernels(model, only=only) for only in (1, None))
    for before, after, all_after in zip(*(convolutions(network) for network in (model, one, every))):
        assert torch.equal(before[0], after[0]) and torch.equal(before[2:], after[2:])
        assert torch.equal(after[1], all_after[1])
        for kernels in all_after:
            assert len(kernels.flatten(1).unique(dim=0)) <= 3
        assert torch.allclose(before[1].mean(0), after[1].mean(0), atol=1e-6)
    assert not torch.equal(convolutions(model)[3][1], convolutions(one)[3][1])


def convolutions(model):
    return [layer.weight.detach() for layer in model.module.modules() if isinstance(layer, torch.nn.Conv2d)]


def test_filters_are_measured_by_class(make_images, make_model, context):
    images = make_images(side=16, channels=3)
    data, model = Dataset.of(images, test=images), make_model(images, "resnet20", width=0.5)
    for settings in ({}, {"kernels": "one"}, {"clusters": 3, "cluster_outcome": "share", "epochs": 7}):
        found = origins_filters.measure_filters(model, data, settings, context)
        assert np.mean(list(found["per_class"].values())) == pytest.approx(found["accuracy"])
        assert found["epochs"] == settings.get("epochs", 0)


def row(arm, accuracy, **values):
    """Return a made-up row."""
    key = {"origin": "progressive", "recipe": "progressive", "arm": arm, "data": "cifar10", "network": None}
    how = {"device": "cpu", "scale": 1.0, "backbone": None, "flags": [], "seed": 0}
    measured = {"published": None, "accuracy": accuracy, "interval": [accuracy - 0.01, accuracy + 0.01], "epochs": 5.0}
    return {**key, **how, **measured, "machine": {"cores": 2, "gpu": None}, **values}


def test_rows_of_several_seeds_are_one_line():
    rows = [row("grown, half the time", 0.5 + 0.01 * seed, seed=seed, published=93.5) for seed in range(3)]
    line = origins_page.arms(rows, "progressive").splitlines()[2]
    assert line == "| CIFAR-10, grown, half the time | 93.5 | 51.0 ± 2.5 (3 seeds) | 5 | 2 CPU cores |"
    assert origins_page.arms(rows, "mini") == ""


def test_the_page_says_what_annealing_alone_gives():
    names = {"conventional, full time": 0.9, "annealed, half the time": 0.87, "grown, half the time": 0.88}
    rows = [row(name, accuracy) for name, accuracy in names.items()]
    said = origins_page.halves(rows)
    assert "annealing alone keeps 87.0 % in half of it (-3.0 points), and growing 88.0 % (-2.0 points)" in said
    assert origins_page.halves(rows[1:]) == ""


def test_changes_of_classes_are_shown():
    classes = dict.fromkeys(origins_arms.PUBLISHED_CLASSES, 0.5)
    key = {"origin": "filters", "recipe": "filter-pruning", "network": "given", "macs": 4e7}
    rows = [row(origins_arms.UNPRUNED, 0.5, per_class=classes, **key)]
    rows.append(row(origins_arms.ONE_FILTER, 0.4, per_class={**classes, "cat": 0.2}, **key))
    lines = origins_page.classes(rows).splitlines()
    assert "| cat | 57 % | -3 | 50.0 % | -30.0 |" in lines and "| dog | 82 % | -2 | 50.0 % | +0.0 |" in lines
    assert "40.0 (39.0 to 41.0)" in origins_page.filters(rows)
    assert origins_page.classes(rows[1:]) == ""


def test_tickets_are_shown_beside_their_controls():
    entries = [
        {"level": level, "network": name, "weights": 0.8**level, "mean": 0.9}
        for level, name in ((0, "dense"), (1, "ticket"), (1, "random"))
    ]
    text = origins_page.tickets([row("lottery tickets", 0.9, tickets=entries, origin="scenes")])
    assert text.splitlines()[2:] == [
        "| weights left | ticket | random |",
        "| --- | --- | --- |",
        "| 100 % | 90.0 % |  |",
        "| 80 % | 90.0 % | 90.0 % |",
    ]


def test_the_page_has_the_measured_rows(tmp_path):
    page = tmp_path / "origins.md"
    shutil.copy(ROOT / "docs" / "origins.md", page)
    measured.fill(page, **origins_page.blocks(origins.ROWS.read()))
    assert page.read_text() == (ROOT / "docs" / "origins.md").read_text()


def test_a_row_is_measured_once_and_rows_without_data_are_skipped(photos, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(origins, "ROWS", measured.Rows(tmp_path / "origins.json", origins.KEY))
    flags = ("--width", "0.125", "--examples", "12", "--batch-size", "2", "--proxy-epochs", "8", "--threads", "1")
    options = origins.Options({"cifar10": str(photos)}, "cpu", 0.02, work=tmp_path / "runs", flags=flags)
    simple = next(arm for arm in origins.ARMS if arm.recipe == "mini-simple")
    origins.run(simple, options, 0)
    (found,) = origins.ROWS.read()
    assert found["published"] == 38.5 and found["epochs"] == 2 and len(found["per_class"]) == 3
    assert found["command"][:3] == ["shoestring", "run", "cifar10"] and str(tmp_path) not in " ".join(found["command"])
    monkeypatch.setattr(origins, "measure", None)  # it is not called again
    origins.run(simple, options, 0)
    origins.run(next(arm for arm in origins.ARMS if arm.origin == "scenes"), options, 0)
    assert "skipped: scenes, simple CNN: give --data scenes=FOLDER" in capfd.readouterr().out
    assert origins.ROWS.read() == [found]
