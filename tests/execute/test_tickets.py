from __future__ import annotations

import pytest
import torch

from shoestring import Budget, BudgetTooSmall, UserError, evaluate
from shoestring import tickets as find
from shoestring.config.recipe import TicketsRecipe
from shoestring.config.tickets import Controls, Rewind, Tickets
from shoestring.execute import tickets as trainings
from shoestring.planning.tickets import check_tickets, part_of

SMALL = {"model": "simplecnn", "width": 0.125, "batch_size": 20}


def epochs(count: int = 4) -> Budget:
    """A budget of epochs of three steps each."""
    return Budget(epochs=count, steps=("train",))


@pytest.fixture
def recorded(monkeypatch) -> list[tuple]:
    """What each training started with, its mask, and the weights after it."""
    calls: list[tuple] = []
    train = trainings.train_masked

    def record(model, start, mask, images, plan, part):
        result = train(model, start, mask, images, plan, part)
        after = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
        calls.append((start, mask, after, result))
        return result

    monkeypatch.setattr(trainings, "train_masked", record)
    return calls


def same(one: dict, other: dict) -> bool:
    return all(torch.equal(one[name], other[name]) for name in one)


def test_every_network_of_a_level_starts_where_it_should(images, make_images, recorded):
    result = find(images, test=make_images(30, seed=1), budget=epochs(), levels=2, rate=0.5, **SMALL)
    order = ["dense", *2 * ["ticket", "reinit", "shuffled", "random", "finetune"]]
    assert [row["network"] for row in result["rows"]] == order
    dense, ticket, reinit, shuffled, random, finetune, second, *_, last = recorded
    initial, trained = dense[0].state, dense[2]
    assert dense[1] is None and same(ticket[0].state, initial)
    for name, own in ticket[1].items():
        kept, removed = trained[name][own].abs(), trained[name][~own].abs()
        assert kept.min() >= removed.max()
        assert own.float().mean() == pytest.approx(0.75 if name == "head.weight" else 0.5, abs=0.01)
    assert not same(reinit[0].state, initial) and same(reinit[1], ticket[1])
    assert same(shuffled[0].state, initial) and not same(shuffled[1], ticket[1])
    assert {n: int(m.sum()) for n, m in shuffled[1].items()} == {n: int(m.sum()) for n, m in ticket[1].items()}
    assert same(random[0].state, initial) and sum(map(torch.sum, random[1].values())) == sum(
        map(torch.sum, ticket[1].values())
    )
    assert same(finetune[0].state, trained)
    assert same(second[0].state, initial)
    assert same(last[0].state, finetune[2])
    for _, mask, after, _ in recorded[1:]:
        assert all(bool((after[name][~own] == 0).all()) for name, own in mask.items())
    for name, own in second[1].items():  # nested, and by the weights of the first ticket
        assert bool((ticket[1][name] | ~own).all())
        assert ticket[2][name][own].abs().min() >= ticket[2][name][ticket[1][name] & ~own].abs().max()
    assert result["rows"][6]["weights"] < result["rows"][1]["weights"] < 0.6


@pytest.mark.parametrize(("rewind", "steps"), [("5", 5), ("25%", 6)])
def test_weights_are_rewound_to_a_moment_of_the_training(images, recorded, rewind, steps):
    settings = {"levels": 1, "controls": "reinit,shuffled", "rewind": rewind, **SMALL}
    rows = find(images, budget=epochs(8), **settings)["rows"]
    dense, ticket, reinit, shuffled = recorded
    start, moment = ticket[0], dense[3][1]
    assert start is moment or same(start.state, moment.state)
    assert not same(start.state, dense[0].state) and same(shuffled[0].state, start.state)
    assert start.fraction == pytest.approx(steps / 24)
    assert [row["steps"] for row in rows] == [24, 24 - steps, 24, 24 - steps]
    assert reinit[0].fraction == 0


def test_the_dense_network_is_trained_as_by_train(images, make_images):
    from shoestring import train

    test = make_images(30, seed=1)
    settings = {**SMALL, "optimizer": "adamw", "tta": "none", "grow": "constant"}
    usual = train(images, budget=epochs(), **settings)
    rows = find(images, test=test, budget=epochs(), levels=1, controls="none", optimizer="adamw", **SMALL)["rows"]
    assert rows[0]["accuracy"] == evaluate(usual, test).accuracy


def test_seeds_repeat_the_experiment_and_are_summarized(images, make_images):
    test = make_images(30, seed=1)
    result = find(images, test=test, budget=epochs(), levels=1, controls="random", seeds=2, seed=3, **SMALL)
    assert [(row["seed"], row["network"]) for row in result["rows"]] == [
        (seed, network) for seed in (3, 4) for network in ("dense", "ticket", "random")
    ]
    entry = result["summary"][0]
    accuracies = [row["accuracy"] for row in result["rows"] if row["network"] == "dense"]
    assert (entry["mean"], entry["min"], entry["max"]) == (sum(accuracies) / 2, min(accuracies), max(accuracies))
    assert entry["interval"][0] <= entry["mean"] <= entry["interval"][1]
    assert "Masks give no speed" in result["notes"][0]


def test_global_pruning_and_rates_of_convolutions(images, recorded):
    find(images, budget=epochs(), levels=1, controls="none", scope="global", rate=0.5, **SMALL)
    fractions = {name: float(own.float().mean()) for name, own in recorded[1][1].items()}
    assert len({round(fraction, 2) for fraction in fractions.values()}) > 1
    find(images, budget=epochs(), levels=1, controls="none", rate=0.5, conv_rate=0.25, **SMALL)
    fractions = {name: float(own.float().mean()) for name, own in recorded[3][1].items()}
    assert fractions["conv2.weight"] == pytest.approx(0.75, abs=0.01)
    assert fractions["hidden.weight"] == pytest.approx(0.5, abs=0.01)


def test_frozen_weights_are_named_and_can_be_spared(images, tmp_path, recorded):
    from shoestring import train

    train(images, budget=epochs(), **SMALL).save(tmp_path)
    settings = {"levels": 1, "controls": "none", "weights": str(tmp_path), "tune": "head", **SMALL}
    result = find(images, budget=epochs(), **settings)
    assert "plain magnitude pruning, not a lottery ticket" in " ".join(result["notes"])
    assert same({"conv1.weight": recorded[0][0].state["conv1.weight"]}, recorded[0][2])
    spared = find(images, budget=epochs(), prunable="tuned", **settings)
    assert spared["frozen_weights"] == 0 and list(recorded[3][1]) == ["head.weight"]


def test_dead_channels_become_a_smaller_network(images, make_images):
    test = make_images(30, seed=1)
    settings = {"levels": 4, "rate": 0.75, "controls": "none", "to_channels": True, **SMALL}
    result = find(images, test=test, budget=epochs(), **settings)
    channels = result["channels"]
    assert channels["params"][1] < channels["params"][0] and channels["macs"][1] < channels["macs"][0]
    assert channels["output_change"] < 1e-4
    assert sum(weight.numel() for weight in result["ticket"].module.parameters()) == channels["params"][1]
    last = [row for row in result["rows"] if row["network"] == "ticket"][-1]
    assert evaluate(result["ticket"], test).accuracy == pytest.approx(last["accuracy"], abs=0.04)


def test_the_winner_is_the_smallest_ticket_that_validation_does_not_find_worse(images, make_images):
    validation = make_images(30, seed=2)
    result = find(images, validation=validation, budget=epochs(), levels=3, rate=0.6, controls="none", **SMALL)
    rows = result["rows"]
    good = [row for row in rows if row["validation"] >= rows[0]["validation"]]
    assert result["winner"] == good[-1]
    assert evaluate(result["ticket"], validation).accuracy == good[-1]["validation"]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"optimizer": "muon"}, "dense, which does not suit masks"),
        ({"patience": 2}, "trainings of one length"),
        ({"rewind": "500"}, "after the end of each training, which has 12 steps"),
        ({"rewind": "1.5"}, "'1.5' is not a moment to rewind to"),
        ({"rewind": "100%"}, "is not a moment to rewind to"),
        ({"controls": "reinti"}, "unknown control 'reinti'. Did you mean 'reinit'"),
        ({"scope": "layers"}, "Did you mean 'layer'"),
        ({"conv_rate": 0.1, "scope": "global"}, "conv_rate is for scope"),
        ({"levels": 0}, "levels must be at least 1"),
        ({"rate": 1.0}, "rate must be .*below 1"),
        ({"levles": 2}, "unknown argument 'levles'"),
        ({"model": "conv3"}, "Did you mean 'conv2'|unknown model"),
    ],
)
@pytest.mark.usefixtures("arguments")
def test_user_errors_are_one_line(images, settings, message):
    with pytest.raises(UserError, match=message) as caught:
        find(images, budget=epochs(), **{"levels": 1, "controls": "none", **SMALL, **settings})
    assert "\n" not in str(caught.value)


def test_growth_and_channel_pruning_are_refused():
    from dataclasses import replace

    from shoestring.config.recipe import Grow, Prune

    recipe = TicketsRecipe()
    check_tickets(recipe)
    with pytest.raises(UserError, match="does not grow"):
        check_tickets(replace(recipe, grow=Grow(method="width")))
    with pytest.raises(UserError, match="remove weights, not channels"):
        check_tickets(replace(recipe, prune=Prune(macs="0.5")))


def test_budgets_are_divided():
    assert part_of(Budget(epochs=12), 3).total == 4
    assert part_of(Budget(flops=1e9), 4, fraction=0.5).total == pytest.approx(1.25e8)
    assert part_of(Budget("10m"), 6, left=2).total == pytest.approx(300, abs=1)


def test_a_time_that_is_too_short_names_the_least_for_all_trainings(images):
    with pytest.raises(BudgetTooSmall, match="11 trainings of ten steps would not fit") as caught:
        find(images, budget=Budget("0.05s"), levels=2, **SMALL)
    assert caught.value.least > 0.05


def test_settings_are_parsed():
    assert Controls("all") == ("reinit", "shuffled", "random", "finetune")
    assert str(Controls("none")) == "none" and str(Controls("random, reinit")) == "reinit,random"
    assert Rewind.parse("2%").fraction == 0.02 and Rewind.parse("500").steps == 500
    assert Rewind.parse("0").to_start and str(Rewind.parse("2%")) == "2%"
    assert Tickets(levels=3, seeds=2, controls=Controls("random")).trainings == 14
