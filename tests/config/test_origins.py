"""The recipes in recipes/origins/, and the arms of benchmarks/origins.py, are read and checked."""

from __future__ import annotations

import json

import pytest

from origins_benchmark import ROOT, origins_arms, origins_words
from shoestring.cli.main import main

FILES = sorted((ROOT / "recipes" / "origins").glob("*.yaml"))
LITE = "timm:tf_efficientnet_lite0"
NAMES = ("cifar10", "cifar100", "fashionmnist", "tinyimagenet", "scenes")


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_recipe_is_checked_without_a_run(file, capsys):
    verb = "tickets" if "tickets" in file.stem else "run"
    assert main([verb, "--recipe", str(file), "--dry-run", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["train.model"]["from"] == str(file)


def test_every_recipe_has_rows():
    assert {arm.recipe for arm in origins_arms.ARMS} | {None, "filter-pruning"} == {
        None,
        *(file.stem for file in FILES),
    }
    assert len({(arm.origin, arm.recipe, arm.name, arm.data) for arm in origins_arms.ARMS}) == len(origins_arms.ARMS)
    names = {arm.name for arm in origins_arms.ARMS}
    assert all(arm.twin is None or arm.twin in names for arm in origins_arms.ARMS)


@pytest.mark.parametrize(("backbone", "scale", "device"), [(None, 1.0, "cpu"), (LITE, 0.1, "cpu"), (None, 1.0, "cuda")])
def test_each_arm_is_checked_without_a_run(backbone, scale, device, tmp_path, capsys):
    options = origins_words.Options(dict.fromkeys(NAMES, "digits"), device, scale, backbone, work=tmp_path)
    for arm in origins_arms.ARMS:
        words = origins_words.words_of(arm, options, 3)
        assert main([*words, "--dry-run", "--json"]) == 0, arm
        values = {name: entry["value"] for name, entry in json.loads(capsys.readouterr().out).items()}
        assert values["data"] == "digits" and values["seed"] == 3
        counted, timed = (values.get(name) is not None for name in ("epochs", "time"))
        assert counted != timed == (arm.times is not None)
        if backbone is not None and values["train.model"].startswith("timm:") and values["train.weights"] != "none":
            assert values["train.model"] == backbone and values["train.tune"] in ("head", "all", "last:2")
            assert not str(values.get("select.proxy", "auto")).startswith("timm:")


def test_a_scale_is_a_fraction_of_epochs_and_of_times(tmp_path):
    options = origins_words.Options(dict.fromkeys(NAMES, "digits"), scale=0.5, work=tmp_path, flags=("--threads", "1"))
    by_name = {(arm.recipe, arm.name, arm.data): arm for arm in origins_arms.ARMS}
    words = origins_words.words_of(by_name["coreset", "reverse forgetting", None], options, 0)
    assert words[words.index("--epochs") + 1] == "75" and words[words.index("--proxy-epochs") + 1] == "10"
    assert words[words.index("--signals") + 1] == str(tmp_path / "signals-timm-resnet18-10-0.npz")
    assert "--threads" in words
    grown = by_name["progressive", "grown, half the time", "cifar10"]
    assert origins_words.scaled(grown, {}, options) == ["--time", "900s"]
    assert origins_words.scaled(grown, {}, origins_words.Options({}, "cuda")) == ["--time", "10s"]


def test_an_earlier_selection_replaces_that_of_the_recipe(tmp_path, refused, capsys):
    recipe, indices = ROOT / "recipes" / "origins" / "mini-simple.yaml", tmp_path / "indices.json"
    indices.write_text("[0, 1, 2]")
    words = ["run", "--recipe", str(recipe), "--subset", str(indices), "--dry-run"]
    assert main([*words, "--json"]) == 0
    values = {name: entry["value"] for name, entry in json.loads(capsys.readouterr().out).items()}
    assert values["select.subset"] == str(indices) and values.get("select.examples") is None
    assert "omit --examples" in refused(*words, "--examples", 3)


def test_validation_images_of_tiny_imagenet_become_test_images(tmp_path):
    folder, work = tmp_path / "tiny", tmp_path / "work"
    for name in ("train/n1/images/n1_0.JPEG", "train/n2/images/n2_0.JPEG", "val/images/val_0.JPEG"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    assert origins_words.labels_of(folder, work) == []
    (folder / "val" / "val_annotations.txt").write_text("val_0.JPEG\tn2\t0\t0\t9\t9\n")
    flag, table = origins_words.labels_of(folder, work)
    lines = (tmp_path / table).read_text().splitlines()
    assert flag == "--labels" and lines == [
        "path,label,split",
        "train/n1/images/n1_0.JPEG,n1,train",
        "train/n2/images/n2_0.JPEG,n2,train",
        "val/images/val_0.JPEG,n2,test",
    ]
