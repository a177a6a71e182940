"""The commands of benchmarks/origins.py: a recipe, the flags of a row, and what a smaller machine changes."""

from __future__ import annotations

import csv
import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measured import Row
from origins_arms import CPU, GPU, Arm

RECIPES = Path(__file__).parents[1] / "recipes" / "origins"


@dataclass(frozen=True)
class Options:
    """Where and how the rows are measured."""

    data: dict[str, str]
    device: str = "auto"
    scale: float = 1.0
    backbone: str | None = None
    weights: Path | None = None
    work: Path = Path("runs/origins")
    flags: tuple[str, ...] = ()

    def row(self, origin: str, recipe: str | None, arm: str, data: str, seed: int) -> Row:
        """Return the key of a row."""
        row = {"origin": origin, "recipe": recipe, "arm": arm, "data": data, "network": None, "device": self.device}
        return {**row, "scale": self.scale, "backbone": self.backbone, "flags": list(self.flags), "seed": seed}


def words_of(arm: Arm, options: Options, seed: int) -> list[str]:
    """Return the arguments of `shoestring` for an arm."""
    data = options.data[data_of(arm)]
    recipe = ["--recipe", str(RECIPES / f"{arm.recipe}.yaml")] if arm.recipe else []
    words = [arm.verb, data, *recipe, *arm.flags, *labels_of(Path(data), options.work)]
    words += ["--no-report"] if arm.verb == "run" and arm.times is None else []  # nobody reads it
    words += ["--device", options.device, "--seed", str(seed), *changes(arm, options)]
    signals = signals_of(arm, options, seed)
    return words if signals is None else [*words, "--signals", str(signals)]


def data_of(arm: Arm) -> str:
    """Return the name of an arm's data set."""
    return arm.data or read(arm)["data"]


def changes(arm: Arm, options: Options) -> list[str]:
    """Return the flags by which a row differs from the recipe with its own flags; later ones take precedence."""
    replacements = replaced(read(arm), arm.flags, options.backbone) if options.backbone else []
    return [*scaled(arm, read(arm), options), *replacements, *options.flags]


def signals_of(arm: Arm, options: Options, seed: int) -> Path | None:
    """Return the file of the proxy's signals, which rows with the same proxy share; None without a proxy."""
    if not trains_proxy(arm):
        return None
    words, name = changes(arm, options), read(arm)["select"].get("proxy", "auto")
    given = dict(itertools.pairwise(words))  # the last value of each flag
    name = f"{given.get('--proxy', name)}-{given['--proxy-epochs']}-{seed}"
    return options.work / f"signals-{re.sub('[^a-zA-Z0-9.]+', '-', name)}.npz"


def trains_proxy(arm: Arm) -> bool:
    """Return whether the images of an arm are selected by a proxy."""
    return "proxy_epochs" in read(arm).get("select", {}) and "random" not in arm.flags


def scaled(arm: Arm, recipe: dict[str, Any], options: Options) -> list[str]:
    """Return the flags of a fraction of the budget."""
    from shoestring.config.units import parse_seconds

    if arm.times is not None:
        given = arm.times[GPU if options.device.startswith("cuda") else CPU]
        return ["--time", f"{options.scale * parse_seconds(given):g}s"]
    words = ["--epochs", f"{options.scale * recipe['epochs']:g}"]
    if trains_proxy(arm):
        words += ["--proxy-epochs", f"{options.scale * recipe['select']['proxy_epochs']:g}"]
    return words


def replaced(recipe: dict[str, Any], flags: tuple[str, ...], backbone: str) -> list[str]:
    """Return the flags that take another network in place of those of timm, and a small proxy."""
    words: list[str] = []
    train = recipe.get("train", {})
    if train.get("model", "").startswith("timm:") and "none" not in flags:
        words += ["--model", backbone]
        tune = flags[flags.index("--tune") + 1] if "--tune" in flags else train["tune"]
        words += ["--tune", tune if tune in ("head", "all") else "last:2"]  # the blocks have other names
    if recipe.get("select", {}).get("proxy", "").startswith("timm:"):
        words += ["--proxy", "auto", "--proxy-tune", "auto"]
    return words


def labels_of(folder: Path, work: Path) -> list[str]:
    """Return the flags of a table of labels for Tiny ImageNet, which lists those of its validation images in a file.

    These become the test images, as they are in publications.
    """
    annotations = folder / "val" / "val_annotations.txt"
    if not annotations.is_file():
        return []
    table = work / "tinyimagenet.csv"
    table.parent.mkdir(parents=True, exist_ok=True)
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("path", "label", "split"))
        for image in sorted((folder / "train").glob("*/images/*")):
            writer.writerow((image.relative_to(folder), image.parts[-3], "train"))
        for line in annotations.read_text().splitlines():
            name, label, *_ = line.split("\t")
            writer.writerow((Path("val", "images", name), label, "test"))
    return ["--labels", str(table)]


def read(arm: Arm) -> dict[str, Any]:
    """Return the content of an arm's recipe."""
    import yaml

    return yaml.safe_load((RECIPES / f"{arm.recipe}.yaml").read_text()) if arm.recipe else {}
