"""Published CIFAR-10 weights in our networks: they must reach their published accuracy.

    python benchmarks/published_weights.py CIFAR10 WEIGHTS_FOLDER

WEIGHTS_FOLDER holds resnet20_cifar10.safetensors and resnet56_cifar10.safetensors. Writes
results/published_weights.json with the accuracies on the test images.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from machine import machine

RESULTS = Path(__file__).parent / "results" / "published_weights.json"
PUBLISHED = {"resnet20": 0.9173, "resnet56": 0.9339}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("weights", type=Path)
    args = parser.parse_args()
    from shoestring import evaluate, load
    from shoestring.models import Preprocessing, build

    hardware, images = machine(), load(args.data).test
    accuracies = {}
    for name, published in PUBLISHED.items():
        size = Preprocessing(32, 3, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
        file = args.weights / f"{name}_cifar10.safetensors"
        model = build(name, classes=images.classes, preprocessing=size, weights=str(file))
        accuracies[name] = {"measured": evaluate(model, images).accuracy, "published": published}
    result = {"data": Path(args.data).name, "images": len(images), "accuracy": accuracies, "machine": hardware}
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
