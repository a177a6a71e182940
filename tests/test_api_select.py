from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shoestring import Budget, BudgetTooSmall, Subset, UserError, load, select
from shoestring.config import registry
from shoestring.config.recipe import Select
from shoestring.data.images import Images
from shoestring.planning.proxy import needs_proxy
from shoestring.planning.selection_method import with_method


def test_method_without_signals_costs_nothing(images, context):
    budget = Budget(epochs=1)
    assert len(select(images, 9, method="random", budget=budget, context=context)) == 9
    assert budget.spent == 0.0


@pytest.mark.parametrize("method", ["forgetting", "diversity"])
def test_select_trains_its_own_proxy(images, context, method):
    notes = []
    images = images[:40]
    context = replace(context, log=notes.append)
    first, again = (
        select(images, 9, method=method, budget=Budget(epochs=9, steps=("select",)), context=context) for _ in range(2)
    )
    assert first.indices.tolist() == again.indices.tolist()
    assert notes[0] == "training a proxy network on 40 images" and notes[1].startswith("proxy: convnet")


def test_proxy_signals_are_saved_and_reused(images, context, tmp_path):
    notes: list[str] = []
    context, file = replace(context, log=notes.append), str(tmp_path / "signals.npz")
    first = select(images, 9, method="margin", signals=file, context=context)
    assert any(note.startswith("proxy") for note in notes)
    notes.clear()
    again = select(images, 9, method="margin", signals=file, budget=Budget(epochs=1e-6), context=context)
    assert notes == [f"signals: read from {file}"]
    assert again.indices.tolist() == first.indices.tolist()


def test_proxy_is_trained_only_where_needed(images, tmp_path):
    assert not needs_proxy(Select("random", 9), images)
    assert needs_proxy(Select("random", 9, within="easiest:0.5"), images)
    assert needs_proxy(with_method(Select("auto", 3), images)[0], images)
    assert not needs_proxy(with_method(Select("auto", 50), images)[0], images)
    for name in registry.names("select"):
        assert needs_proxy(Select(name, 9), images) == (name != "random")
    file = tmp_path / "signals.npz"
    assert needs_proxy(Select("diversity", 9, signals=str(file)), images)
    file.touch()
    assert not needs_proxy(Select("diversity", 9, signals=str(file)), images)


def test_options_reach_the_method(images, context):
    easy, hard = (
        select(images, 60, method="forgetting", order=order, balance="none", context=context)
        for order in ("easiest", "hardest")
    )
    assert easy.indices.tolist() != hard.indices.tolist()
    assert hard.options == {"order": "hardest"}
    with pytest.raises(UserError, match="Did you mean 'order'"):
        select(images, 9, method="forgetting", oder="hardest", context=context)


def test_budget_too_small_for_the_proxy_is_refused(images, context):
    with pytest.raises(BudgetTooSmall, match="--epochs"):
        select(images, 9, method="forgetting", budget=Budget(epochs=0.1), context=context)


def test_wrongly_labeled_images_are_excluded(context):
    plain = load("digits").train
    labels = plain.targets.copy()
    wrong = np.arange(0, len(plain), 40)
    labels[wrong] = (labels[wrong] + 3) % 10
    images = Images(plain.pixels, labels, plain.classes, plain.ids, fingerprint="some labels are wrong", mirrored=False)
    settings = {"method": "random", "balance": "none", "drop_suspects": True}
    subset = select(images, 1294 - len(wrong), **settings, context=context)
    excluded = np.setdiff1d(np.arange(len(images)), subset.indices)  # includes images left out at random
    assert 0.3 * len(wrong) < subset.left_out < 1.1 * len(wrong)
    assert len(np.intersect1d(excluded, wrong)) > 0.8 * subset.left_out


@pytest.mark.parametrize("balance", [{"balance": "class0=58"}, {"balance": {"class0": 58}}, {}])
def test_impossible_size_is_refused_before_training_a_proxy(images, context, balance):
    with pytest.raises(UserError, match=r"are (needed|requested)"):
        select(
            images, 58 if balance else 61, drop_suspects=True, budget=Budget(epochs=1e-6), context=context, **balance
        )


def test_select_accepts_seeds_subsets_and_balances_from_python(images, tmp_path):
    first, again, other = (select(images, 9, method="random", seed=seed) for seed in (3, 3, 4))
    assert first.indices.tolist() == again.indices.tolist() != other.indices.tolist()
    first.save(tmp_path / "first.json")
    for name in (tmp_path / "first.json", str(tmp_path / "first.json"), first):
        assert select(images, 12, method="random", already=name).indices[:9].tolist() == first.indices.tolist()
    counts = images[select(images, 9, method="random", balance={"class1": 7})].counts()
    assert counts.tolist() == [1, 7, 1]
    for settings, message in (
        ({"subset": "first.json"}, "a finished selection"),
        ({"features": np.ones((60, 2))}, "features must be text"),
        ({"balance": {"class1": -1}}, "is not a number of images"),
    ):
        with pytest.raises(UserError, match=message):
            select(images, 9, method="random", **settings)
    with pytest.raises(UserError, match="no images"):
        select(images[[]], 1, method="random")


def test_images_selected_before_count_toward_the_classes(make_images, context):
    images = make_images(75)
    labels = np.array([0] * 60 + [1] * 15)
    images = Images(images.pixels, labels, ("cat", "dog"), images.ids, fingerprint="uneven", mirrored=False)
    first = Subset.from_rows(images, np.arange(30))
    more = select(images, 40, method="random", already=first, context=context)
    assert images[more].counts().tolist() == [30, 10]
