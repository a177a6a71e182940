"""Clustered filters of ResNet-20 without training, beside what works; fills the tables in docs/clustering.md.

    python benchmarks/clusters.py CIFAR10 WEIGHTS_FOLDER

WEIGHTS_FOLDER holds resnet20_cifar10.safetensors. Writes results/clusters.json with the accuracies on the test images,
in all and by class: with the batch-norm statistics of the original network, and with those re-estimated on training
images.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from machine import machine
from measured import fill

FOLDER = Path(__file__).parent
RESULTS, PAGE = FOLDER / "results" / "clusters.json", FOLDER.parent / "docs" / "clustering.md"
IMAGES = 1000  # for batch norms, activations and compensation
HALF = "conv1=8,layer1=8,layer2=16,layer3=32"
VARIANTS: dict[str, dict[str, Any]] = {
    "share, 3 clusters, weights": {"clusters": 3, "cluster_outcome": "share", "cluster_features": "weights"},
    "share, 3 clusters, folded filters": {"clusters": 3, "cluster_outcome": "share"},
    "share, 3 clusters, activations": {"clusters": 3, "cluster_outcome": "share", "cluster_features": "activations"},
    "share, half as many clusters as filters": {"clusters": HALF, "cluster_outcome": "share"},
    "merge to half of the MACs, folded filters": {"clusters": "auto", "macs": "0.5"},
    "merge to half of the MACs, activations, agglomerative": {
        "clusters": "auto",
        "macs": "0.5",
        "cluster_features": "activations",
        "cluster_method": "agglomerative",
    },
}
COMPENSATED = "magnitude to half of the MACs, with compensation"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("weights", type=Path)
    args = parser.parse_args()
    from shoestring import load
    from shoestring.config.size_sections import Prune
    from shoestring.models import Preprocessing, build
    from shoestring.pruning import shrink
    from shoestring.pruning.clustering.clustering import cluster

    hardware, data = machine(), load(args.data)
    size = Preprocessing(32, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    file = args.weights / "resnet20_cifar10.safetensors"
    model = build("resnet20", classes=data.classes, preprocessing=size, weights=str(file))
    sample = data.train[np.random.default_rng(0).permutation(len(data.train))[:IMAGES]]
    batches = [model.prepare(part) for part in torch.from_numpy(sample.pixels).split(250)]
    rows = [{"network": "original", "before": measure(model, data.test), "after": None, "params": params(model)}]
    for name, settings in VARIANTS.items():
        prune = Prune(**settings)
        clustered = cluster(model, batches, prune).model
        plain = None  # activations are compared on images, which also re-estimate batch norms
        if prune.cluster_features != "activations":
            plain = measure(cluster(model, [], prune).model, data.test)
        after = measure(clustered, data.test)
        rows.append({"network": name, "before": plain, "after": after, "params": params(clustered)})
        print(json.dumps(rows[-1]), flush=True)
    smaller = shrink(model, batches, macs=0.5)
    rows.append(
        {"network": COMPENSATED, "before": None, "after": measure(smaller, data.test), "params": params(smaller)}
    )
    result = {"data": Path(args.data).name, "test_images": len(data.test), "images": IMAGES, "rows": rows}
    RESULTS.write_text(json.dumps({**result, "machine": hardware}, indent=1) + "\n")
    write(rows)


def params(model: Any) -> int:
    return sum(weight.numel() for weight in model.module.parameters())


def measure(model: Any, images: Any) -> dict[str, Any]:
    from shoestring import evaluate

    metrics = evaluate(model, images)
    recalls = {entry.name: entry.recall for entry in metrics.per_class}
    return {"accuracy": metrics.accuracy, "interval": metrics.interval, "recall": recalls}


def write(rows: list[dict[str, Any]]) -> None:
    """Fill the tables of the page."""
    lines = ["| network | parameters | original statistics | re-estimated |", "|---|---|---|---|"]
    for row in rows:
        cells = ["-" if one is None else f"{100 * one['accuracy']:.1f} %" for one in (row["before"], row["after"])]
        lines.append(f"| {row['network']} | {row['params']:,} | {' | '.join(cells)} |")
    original, shared = rows[0]["before"]["recall"], rows[1]
    classes = ["| class | before | after | change | re-estimated | change |", "|---|---|---|---|---|---|"]
    for name, recall in original.items():
        cells = [f"{100 * recall:.0f} %"]
        for one in (shared["before"], shared["after"]):
            cells += [f"{100 * one['recall'][name]:.0f} %", f"{100 * (one['recall'][name] - recall):+.0f}"]
        classes.append(f"| {name} | {' | '.join(cells)} |")
    fill(PAGE, results="\n".join(lines), classes="\n".join(classes))


if __name__ == "__main__":
    main()
