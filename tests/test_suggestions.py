from __future__ import annotations

import dataclasses

import pytest

from shoestring.cli.main import VERBS
from shoestring.config import registry
from shoestring.config.recipe import SECTIONS, Recipe
from shoestring.errors import unknown
from shoestring.suggestions import ALIASES, nearest


@pytest.mark.parametrize(
    "typed, known, suggested",
    [
        ("exmples", ["--examples", "--epochs"], "--examples"),
        ("--Learning_Rate", ["--learning-rate"], "--learning-rate"),
        ("lr", ["learning_rate", "label_smoothing"], "learning_rate"),
        ("--gpu", ["--device", "--grow"], "--device cuda"),
        ("gpu", ["cpu", "cuda"], "cuda"),
        ("subset", ["select", "train"], "select"),
        ("frobnicate", ["predict", "evaluate"], None),
        ("cat", ["cab", "dog"], None),  # two letters of three are not enough
        ("", ["a"], None),
    ],
)
def test_the_suggested_name(typed: str, known: list[str], suggested: str | None) -> None:
    assert nearest(typed, known) == suggested


def test_every_alias_maps_to_an_existing_name() -> None:
    existing = {field.name for cls in (Recipe, *SECTIONS.values()) for field in dataclasses.fields(cls)}
    existing |= {"out", "recipe", "quiet", "debug", "overwrite", "top", "on", "data", "cuda"} | VERBS.keys()
    existing |= {name for kind in registry.PROTOCOLS for name in registry.names(kind)}
    existing |= {"sgd", "adamw", "float16", "bfloat16", "float32", "optimizer"}
    targets = {target.partition("=")[0] for targets in ALIASES.values() for target in targets}
    assert {target for target in targets - existing if not target.startswith("timm:")} == set()


def test_the_timm_models_of_aliases_exist() -> None:
    import timm

    named = [target for targets in ALIASES.values() for target in targets if target.startswith("timm:")]
    assert named and all(timm.is_model(name.removeprefix("timm:")) for name in named)


@pytest.mark.parametrize(
    "typed, suggested",
    [
        ("resnet50", "timm:resnet50"),
        ("ResNet-18", "resnet18"),
        ("vit", "timm:vit_tiny_patch16_224"),
        ("efficientnet_b0", "timm:efficientnet_b0"),
        ("resnt50", "timm:resnet50"),
        ("convnt", "convnet"),
    ],
)
def test_timm_models_are_suggested(typed: str, suggested: str) -> None:
    with pytest.raises(ValueError, match=f"Did you mean '{suggested}'"):
        registry.find("models", typed)


def test_a_long_name_is_shortened_in_the_message() -> None:
    assert len(str(unknown("thing", "x" * 10_000, ["y"]))) < 200
