from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from shoestring.config.plan import Plan, TrainPlan, to_dict
from shoestring.data.augment import Augment
from shoestring.reporting.answers import answers

TRAIN = TrainPlan(16, "float32", "muon", 0.2, 0.0)


def rows(plan: Plan) -> dict[str, str]:
    return {name: value for name, value, _ in answers(to_dict(plan))}


@pytest.mark.parametrize(
    ("augment", "text"),
    [
        (Augment(), "flip"),
        (Augment(flip=False), "none"),
        (Augment(flip=False, strength=(0.5, 1.0)), "none"),
        (Augment(shift=0.125, rotate=10.0), "flip, shift 0.125, rotate 10"),
        (Augment(shift=0.125, strength=(0.5, 1.0)), "flip, shift 0.125, strength 0.5,1"),
        (Augment(flip=False, mixup=1.0, strength=(0.5,)), "mixup 1, strength 0.5"),
    ],
)
def test_plan_shows_the_augmentation(augment: Augment, text: str) -> None:
    plan = Plan(32, "flip", model="convnet", train=replace(TRAIN, augment=asdict(augment)))
    assert rows(plan)["augment"] == text


def test_plan_shows_the_resolution() -> None:
    plan = Plan(32, "flip", model="convnet", train=TRAIN)
    assert rows(plan)["resolution"] == "32 x 32 pixels"
    assert rows(replace(plan, train=replace(TRAIN, side=32)))["resolution"] == "32 x 32 pixels"
    larger = rows(replace(plan, train=replace(TRAIN, side=160)))
    assert larger["resolution"] == "32 x 32 pixels, resized to 160 for the network"
