"""Exactness of widening: differences of the outputs in both modes and precisions, compared with rounding errors.

    python benchmarks/channels_exactness.py

Every group of each network gets 50 % more channels. `rounding` is the difference between float32 and float64 of the
original network, a lower bound for any surgery. Writes results/channels_exactness.json.
"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from machine import machine

RESULTS = Path(__file__).parent / "results" / "channels_exactness.json"
NETWORKS = {
    "convnet": {},
    "convnet without norm": {"norm": False},
    "resnet20 A": {"shortcut": "A"},
    "resnet20 B": {"shortcut": "B"},
    "resnet56": {},
    "resnet18": {},
    "vgg8": {},
    "vgg16": {},
    "simplecnn": {},
    "timm:resnet18": {},
    "timm:densenet121": {},
    "timm:mobilenetv2_100": {},
    "timm:efficientnet_b0": {},
}
IMAGES, SIDE = 16, 64


def main() -> None:
    rows = {}
    hardware = machine()
    for name, options in NETWORKS.items():
        rows[name] = measure(name.partition(" ")[0], options)
        print(name, rows[name], flush=True)
    RESULTS.write_text(json.dumps({"images": IMAGES, "side": SIDE, "rows": rows, "machine": hardware}, indent=1) + "\n")


def measure(name: str, options: dict[str, Any]) -> dict[str, float]:
    import torch

    from shoestring.channels import trace, widen
    from shoestring.models import Preprocessing, build

    torch.manual_seed(0)
    size = Preprocessing(SIDE, 3, (0.5,) * 3, (0.25,) * 3)
    module = build(name, classes=[str(index) for index in range(10)], preprocessing=size, options=options).module
    images = torch.randn(IMAGES, 3, SIDE, SIDE)
    table = trace(module, images[:1])
    wider = widen(module, table, {n: g.size + (g.size + 1) // 2 for n, g in table.groups.items()})
    exact = widen(module.double(), table, {n: g.size + (g.size + 1) // 2 for n, g in table.groups.items()})
    errors = {}
    for mode in ("evaluation", "training"):
        reference = output(module, images.double(), mode)
        plain = output(copy.deepcopy(module).float(), images, mode)
        errors[f"{mode}, float32"] = difference(output(wider, images, mode), plain)
        errors[f"{mode}, float64"] = difference(output(exact, images.double(), mode), reference)
        errors[f"{mode}, rounding"] = difference(plain.double(), reference)
    return errors


def output(module: Any, images: Any, mode: str) -> Any:
    import torch

    module = copy.deepcopy(module).train(mode == "training")
    with torch.no_grad():
        return module(images)


def difference(outputs: Any, expected: Any) -> float:
    return float(f"{((outputs - expected).abs().max() / expected.abs().max()).item():.2g}")


if __name__ == "__main__":
    main()
