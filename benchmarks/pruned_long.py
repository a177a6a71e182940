"""Pruned networks after a long fine-tuning: published networks for CIFAR-10, for a machine with a GPU.

    python benchmarks/pruned_long.py CIFAR10 WEIGHTS_FOLDER [--device cuda] [--epochs 60] [--seeds 3] [--case NAME]
    python benchmarks/pruned_long.py --page docs/pruning.md

WEIGHTS_FOLDER holds resnet20_cifar10.safetensors and resnet56_cifar10.safetensors. ResNet-56 is pruned to 1 / 2.1 of
its multiply-accumulates, ResNet-20 to 46 %, both by the default criterion and with distillation from the whole network;
and ResNet-56 to 1 / 2.5 by clusters whose filters training pulls together until they are merged. The budget is a number
of epochs, and the accuracy that of the last one on all test images, which are used once. Each row is saved at once to
results/pruned_long.json. A row takes hours on a CPU: `--epochs 0.1` tries it.
"""

from __future__ import annotations

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

from machine import machine
from measured import Row, Rows, fill
from origins_filters import given_network, measure_filters

ROWS = Rows("pruned_long.json", ("case", "device", "epochs", "seed"))
CENTRIPETAL = {"clusters": "auto", "cluster_outcome": "centripetal"}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "ResNet-56, MACs / 2.1": ("resnet56", {"macs": 1 / 2.1, "distil": True}),
    "ResNet-20, MACs - 54 %": ("resnet20", {"macs": 0.46, "distil": True}),
    "ResNet-56, MACs / 2.5, clusters": ("resnet56", {"macs": 1 / 2.5, "distil": True, **CENTRIPETAL}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", nargs="?")
    parser.add_argument("weights", nargs="?", type=Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--epochs", type=float, default=60.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--case", default="", help="cases whose name contains this")
    parser.add_argument("--page", type=Path, help="write the table of the results into this page, between its markers")
    args = parser.parse_args()
    if args.page:
        fill(args.page, **{"long-training": table(ROWS.read())})
        return
    if args.weights is None:
        parser.error("CIFAR10 or WEIGHTS_FOLDER is missing")
    from shoestring import load
    from shoestring.runtime.context import prepare

    data, hardware = load(args.data), machine()
    for seed in range(args.seeds):
        for case, (network, settings) in CASES.items():
            row = {"case": case, "device": args.device, "epochs": args.epochs, "seed": seed}
            if args.case not in case or ROWS.have(row):
                continue
            context = prepare(device=args.device, seed=seed)
            model = given_network(args.weights / f"{network}_cifar10.safetensors", data.classes, network)
            model.module.to(context.device)
            start, whole = time.monotonic(), measure_filters(model, data, {}, context)
            pruned = measure_filters(model, data, {**settings, "epochs": args.epochs}, context)
            before = {f"{name}_before": whole[name] for name in ("accuracy", "macs", "params")}
            seconds = round(time.monotonic() - start, 1)
            ROWS.put({**row, **before, **pruned, "seconds": seconds, "machine": hardware})
            ratio = whole["macs"] / pruned["macs"]
            print(case, seed, whole["accuracy"], pruned["accuracy"], ratio, seconds, flush=True)


def table(rows: list[Row]) -> str:
    """Return a Markdown table of the mean accuracy of each case over seeds."""
    lines = ["| case | epochs | seeds | before | after | MACs |", "|---|--:|--:|--:|--:|--:|"]
    for case, epochs in dict.fromkeys((row["case"], row["epochs"]) for row in rows):
        own = [row for row in rows if (row["case"], row["epochs"]) == (case, epochs)]
        before, after = (100 * statistics.mean(row[name] for row in own) for name in ("accuracy_before", "accuracy"))
        ratio = own[0]["macs_before"] / own[0]["macs"]
        lines.append(f"| {case} | {epochs:g} | {len(own)} | {before:.2f} % | {after:.2f} % | {ratio:.2f} times fewer |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
