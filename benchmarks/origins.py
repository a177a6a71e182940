"""The recipes in recipes/origins/ on their data, beside the published accuracies; each row is one run.

    python benchmarks/origins.py [--data cifar10=FOLDER] [--data scenes=FOLDER] [--only coreset] [--device cuda]

writes results/origins.json and prints a table. `--scale 0.1` takes a tenth of the epochs and the time. Without a
network and without downloaded weights, `--backbone timm:tf_efficientnet_lite0` takes another pretrained network, as the
rows say. Finished rows are kept.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import machine
from measured import Rows

RECIPES = Path(__file__).parents[1] / "recipes" / "origins"


@dataclass(frozen=True)
class Arm:
    """A row: a recipe with flags, and the accuracy that was published for it, in percent."""

    recipe: str
    name: str
    published: float | None
    flags: tuple[str, ...] = ()


ARMS = (
    Arm("coreset", "reverse forgetting, frozen", 68.3),
    Arm("coreset", "reverse forgetting", 66.0, ("--tune", "all")),
    Arm("coreset", "forgetting", 34.8, ("--tune", "all", "--select.order", "hardest")),
    Arm("coreset", "random", 60.5, ("--tune", "all", "--select", "random")),
    Arm("mini-simple", "VGG-8", 38.5),
    Arm("mini-simple", "VGG-16", None, ("--model", "vgg16")),
    Arm("mini-simple", "ResNet-18", None, ("--model", "resnet18", "--norm")),
    Arm("mini-advanced", "VGG-8, SGD", 48.1),
    Arm("mini-advanced", "VGG-8, AdamW", None, ("--optimizer", "adamw", "--learning-rate", "0.001")),
    Arm("mini-two-outputs", "VGG-8, two outputs", None),
    Arm("filter-pruning", "3 clusters", 79.2),
    Arm("progressive", "conventional", 94.2, ("--grow", "constant", "--time", "1h")),
    Arm("progressive", "annealed in half the time", None, ("--grow", "constant")),
    Arm("progressive", "grown in half the time", 93.5),
    Arm("progressive", "auto in half the time", None, ("--grow", "auto")),
    Arm("scenes-cnn", "two convolutions", 74.0),
    Arm("scenes-densenet121", "DenseNet-121, frozen", 89.0),
    Arm("scenes-densenet121", "DenseNet-121, one block trained", 92.0, ("--tune", "denseblock3")),
    Arm("scenes-resnet18", "ResNet-18, frozen", 87.0, ("--tune", "head")),
    Arm("scenes-resnet18", "ResNet-18, one block trained", 92.0),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", action="append", default=[], metavar="NAME=FOLDER")
    parser.add_argument("--only", help="the arms of one recipe")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--backbone", help="network in place of those of timm")
    args = parser.parse_args()
    folders = dict(text.split("=", 1) for text in args.data)
    rows = Rows("origins.json", ("recipe", "arm", "device", "scale", "backbone"))
    for arm in ARMS:
        row = {"recipe": arm.recipe, "arm": arm.name, "device": args.device, "scale": args.scale}
        row["backbone"] = args.backbone
        if args.only in (None, arm.recipe) and not rows.have(row):
            rows.put({**row, "published": arm.published, **measure(arm, folders, args), "machine": machine()})
    for row in rows.read():
        print(f"{row['recipe']:<20}{row['arm']:<34}{row['published'] or '-'!s:>8}{100 * row['accuracy']:8.1f}")


def words_of(arm: Arm, folders: dict[str, str], args: argparse.Namespace) -> list[str]:
    """Return the arguments of `shoestring` for an arm."""
    import yaml

    file = RECIPES / f"{arm.recipe}.yaml"
    recipe: dict[str, Any] = yaml.safe_load(file.read_text())
    words = ["run", folders.get(recipe["data"], recipe["data"]), "--recipe", str(file), *arm.flags]
    words += ["--device", args.device]
    if args.scale != 1:
        words += scaled(recipe, arm.flags, args.scale)
    if args.backbone and recipe["train"]["model"].startswith("timm:"):
        words += ["--model", args.backbone]
        if ("--tune" not in arm.flags and recipe["train"]["tune"] not in ("head", "all")) or "denseblock3" in arm.flags:
            words += ["--tune", "last:2"]  # the blocks have other names
    return words


def scaled(recipe: dict[str, Any], flags: tuple[str, ...], scale: float) -> list[str]:
    """Return the flag of a fraction of the budget."""
    from shoestring.config.units import parse_seconds

    if "epochs" in recipe:
        return ["--epochs", f"{scale * recipe['epochs']:g}"]
    time = flags[flags.index("--time") + 1] if "--time" in flags else recipe["time"]
    return ["--time", f"{scale * parse_seconds(time):g}s"]


def measure(arm: Arm, folders: dict[str, str], args: argparse.Namespace) -> dict[str, Any]:
    """Run an arm; return its test accuracy with interval, and its seconds."""
    with tempfile.TemporaryDirectory() as folder:
        words = [*words_of(arm, folders, args), "--out", str(Path(folder) / "out"), "--json"]
        done = subprocess.run([sys.executable, "-m", "shoestring", *words], stdout=subprocess.PIPE, check=True)
    result = json.loads(done.stdout)
    return {name: result[name] for name in ("accuracy", "interval", "seconds", "examples", "model")}


if __name__ == "__main__":
    main()
