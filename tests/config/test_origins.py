"""The recipes in recipes/origins/, and the arms of benchmarks/origins.py, are read and checked."""

from __future__ import annotations

import argparse
import importlib.util
import json
import sys
from pathlib import Path

import pytest

from shoestring.cli.main import main
from shoestring.config.units import parse_seconds

ROOT = Path(__file__).parents[2]
FILES = sorted((ROOT / "recipes" / "origins").glob("*.yaml"))


@pytest.fixture(scope="module")
def origins():
    """The module benchmarks/origins.py."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("origins", ROOT / "benchmarks" / "origins.py")
        assert spec is not None and spec.loader is not None
        module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        yield module
    finally:
        sys.path.pop(0)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_each_recipe_is_checked_without_a_run(file, capsys):
    verb = "tickets" if "tickets" in file.stem else "run"
    assert main([verb, "--recipe", str(file), "--dry-run", "--json"]) == 0
    values = json.loads(capsys.readouterr().out)
    assert values["train.model"]["from"] == str(file)


def test_each_arm_is_checked_without_a_run(origins, capsys):
    assert {arm.recipe for arm in origins.ARMS} == {file.stem for file in FILES} - {"scenes-tickets"}
    whole = {}
    for backbone, scale in ((None, 1.0), ("timm:tf_efficientnet_lite0", 0.1)):
        args = argparse.Namespace(device="cpu", scale=scale, backbone=backbone)
        for arm in origins.ARMS:
            words = origins.words_of(arm, {"scenes": "digits", "cifar10": "digits"}, args)
            assert main([*words, "--dry-run", "--json"]) == 0, arm
            values = {name: entry["value"] for name, entry in json.loads(capsys.readouterr().out).items()}
            [(unit, budget)] = [
                (name, values[name]) for name in ("time", "epochs", "flops") if values[name] is not None
            ]
            amount = parse_seconds(budget) if unit == "time" else float(budget)
            assert amount == pytest.approx(scale * whole.setdefault((arm.recipe, arm.name, unit), amount))
            assert values["data"] == "digits"
            if backbone is not None and values["train.model"].startswith("timm:"):
                assert values["train.model"] == backbone and values["train.tune"] in ("head", "all", "last:2")
