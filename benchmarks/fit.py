"""Crop, squash or pad: accuracy of a linear probe on photos that are not square, by how they become squares.

    python benchmarks/fit.py DATA [--model timm:NAME] [--weights FILE] [--sides 96 160 224] [--images N] [--seeds N]
    python benchmarks/fit.py --table

DATA should have photos of different aspect ratios. The probe is a logistic regression on the features of a frozen
network. Accuracy is measured on validation images, a fresh tenth of the training images for each seed; test images are
not used. Each row is saved to results/fit.json at once; existing rows are skipped.
"""

from __future__ import annotations

import argparse
import statistics
from typing import Any

from machine import machine
from measured import Row, Rows

ROWS = Rows("fit.json", ("data", "model", "side", "images", "fit", "seed"))
FITS = ("crop", "squash", "pad")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?", help="photos of different aspect ratios")
    parser.add_argument("--model", default="timm:tf_efficientnet_lite0", help="timm network")
    parser.add_argument("--weights", default="pretrained", help="weights file (default: those at hand)")
    parser.add_argument("--sides", nargs="+", type=int, default=[160], help="sides of the squares in pixels")
    parser.add_argument("--images", type=int, default=2000, help="training images at most (default: 2,000)")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--table", action="store_true", help="print a table of the results")
    args = parser.parse_args()
    if args.table:
        print(table(ROWS.read()))
        return
    for side in args.sides:
        for seed in range(args.seeds):
            for fit in FITS:
                measure(args, {"side": side, "images": args.images, "fit": fit, "seed": seed})


def measure(args: argparse.Namespace, settings: Row) -> None:
    from shoestring import load

    data = load(args.data, resolution=settings["side"], fit=settings["fit"], split_seed=settings["seed"], skip_bad=True)
    row = {"data": data.name, "model": args.model, **settings}
    if ROWS.have(row):
        return
    row |= {"validation_images": len(data.validation), "accuracy": accuracy(args, data, settings)}
    ROWS.put({**row, "machine": machine()})
    print(f"{data.name}, {row['side']} px, {row['fit']}, seed {row['seed']}: {100 * row['accuracy']:.1f} %", flush=True)


def accuracy(args: argparse.Namespace, data: Any, settings: Row) -> float:
    """Return the accuracy of the probe on the validation images."""
    from shoestring.evaluation.metrics import collect_predictions, compute_metrics
    from shoestring.models.inference import Predictor
    from shoestring.models.model import build
    from shoestring.models.preprocessing import Preprocessing
    from shoestring.models.timm import PREFIX, pretrained_input
    from shoestring.training.probe import probe_head, some_of_each_class

    mean, std, interpolation, fixed = pretrained_input(args.model.removeprefix(PREFIX))
    side = fixed or settings["side"]
    size = Preprocessing(side, len(mean), mean, std, interpolation=interpolation, fit=settings["fit"])
    model = build(args.model, classes=data.classes, preprocessing=size, weights=args.weights)
    images = some_of_each_class(data.train, settings["images"], seed=settings["seed"])
    probe_head(model, images, seed=settings["seed"])
    scores = Predictor(model)(data.validation)
    predictions = collect_predictions(scores, data.validation.targets, classes=len(data.classes))
    return compute_metrics(predictions, classes=data.classes, split="validation").accuracy


def table(rows: list[Row]) -> str:
    """Return a Markdown table: validation accuracy of each fit, mean and range over the seeds."""
    lines = ["| data | network | side | " + " | ".join(FITS) + " |", "|---|---|---|" + "---|" * len(FITS)]
    for data, model, side, images in dict.fromkeys(tuple(row[key] for key in ROWS.key[:4]) for row in rows):
        cells = []
        for fit in FITS:
            same = [row for row in rows if tuple(row[key] for key in ROWS.key[:5]) == (data, model, side, images, fit)]
            found = [100 * row["accuracy"] for row in same]
            spread = f" ({min(found):.1f} to {max(found):.1f})" if len(found) > 1 else ""
            cells.append(f"{statistics.mean(found):.1f} %{spread}" if found else "-")
        lines.append(f"| {data}, {images} | {model} | {side} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
