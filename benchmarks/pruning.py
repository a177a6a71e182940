"""Pruning without training: half of the channels inside of the blocks of published CIFAR-10 networks.

    pip install torch-pruning
    python benchmarks/pruning.py CIFAR10 WEIGHTS_FOLDER [--seeds 3] [--networks resnet20,resnet56] [--test 10000]

WEIGHTS_FOLDER holds resnet20_cifar10.safetensors and resnet56_cifar10.safetensors. Every criterion of shoestring and of
Torch-Pruning keeps half of the filters of the first convolution of each block. Then batch-norm statistics are
re-estimated on the same 1,000 random training images, which are also all that the criteria see; Torch-Pruning's Taylor
and Hessian criteria and `taylor` use their labels. shoestring also compensates. Accuracies are those on other training
images, by which the default criterion is chosen, and on `--test` random test images (default: all). Writes
results/pruning.json and, between markers `no-training`, the table of docs/pruning.md.
"""

from __future__ import annotations

import argparse
import copy
import json
import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from machine import machine
from measured import RESULTS, Rows, fill

SIZE = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PAGE = Path(__file__).parent.parent / "docs" / "pruning.md"
CALIBRATION, VALIDATION = 1000, 1000  # training images
ROWS = Rows("pruning_rows.json", ("network", "tool", "method", "compensate", "test_images", "seed"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--networks", default="resnet20,resnet56")
    parser.add_argument("--test", type=int, default=10_000)
    args = parser.parse_args()
    hardware = machine()
    for seed in range(args.seeds):
        for network in args.networks.split(","):
            measure(network, args, seed, hardware)
    report()


def measure(network: str, args: argparse.Namespace, seed: int, hardware: dict[str, Any]) -> None:
    """Measure all methods that have no row yet."""
    from shoestring import load
    from shoestring.config import registry
    from shoestring.models import Preprocessing, build

    images = load(args.data)
    test = images.test[np.random.default_rng(0).permutation(len(images.test))[: args.test]]
    order = np.random.default_rng(seed).permutation(len(images.train))
    sample, held_out = images.train[order[:CALIBRATION]], images.train[order[-VALIDATION:]]
    size = Preprocessing(32, 3, *SIZE)
    file = args.weights / f"{network}_cifar10.safetensors"
    model = build(network, classes=images.train.classes, preprocessing=size, weights=str(file))
    model.module.eval()
    batches = [model.prepare(part) for part in torch.from_numpy(sample.pixels).split(125)]
    labels = list(torch.from_numpy(sample.labels).split(125))

    def put(tool: str, method: str, compensate: bool, prune: Callable[[], nn.Module]) -> None:
        row = {"network": network, "tool": tool, "method": method, "compensate": compensate}
        row |= {"test_images": len(test), "seed": seed}
        if ROWS.have(row):
            return
        start = time.perf_counter()
        module = prune()
        row["seconds"] = round(time.perf_counter() - start, 2)
        row |= {"params": sum(p.numel() for p in module.parameters())}
        row |= {name: accuracy(model, module, part) for name, part in (("train", held_out), ("test", test))}
        ROWS.put({**row, "machine": {name: hardware[name] for name in ("cpu", "cores", "torch", "commit")}})
        print(json.dumps(row), flush=True)

    put("none", "-", False, lambda: model.module)
    for method in sorted(registry.names("prune"), key=lambda name: name != "greedy"):
        for compensate in (False, True):
            put("shoestring", method, compensate, partial(ours, model, batches, labels, method, compensate))
    for method in PEERS:
        put("torch-pruning", method, False, partial(theirs, model.module, batches, labels, method))


def ours(model: Any, batches: list[Tensor], labels: list[Tensor], method: str, compensate: bool) -> nn.Module:
    from shoestring.pruning import shrink

    keep = {"layer*.conv1": 0.5}
    return shrink(model, batches, method=method, keep_channels=keep, compensate=compensate, labels=labels).module


def theirs(module: nn.Module, batches: list[Tensor], labels: list[Tensor], method: str) -> nn.Module:
    import torch_pruning as tp

    from shoestring.models.batchnorm import reestimate_batchnorm

    module = copy.deepcopy(module)
    importance = PEERS[method](tp, module, batches, labels)
    graph = tp.DependencyGraph().build_dependency(module, example_inputs=batches[0][:1])
    blocks = [part for name, part in module.named_modules() if name.startswith("layer") and hasattr(part, "conv1")]
    cuts = []
    for block in blocks:  # all scores before the first cut, as gradients belong to the whole network
        group = graph.get_pruning_group(block.conv1, tp.prune_conv_out_channels, list(range(block.conv1.out_channels)))
        scores = importance(group)
        cuts.append((block.conv1, scores.argsort()[: len(scores) // 2].tolist()))
    for layer, lowest in cuts:
        graph.get_pruning_group(layer, tp.prune_conv_out_channels, lowest).prune()
    module.zero_grad()
    reestimate_batchnorm(module, batches)
    return module


def _gradients(module: nn.Module, batches: Sequence[Tensor], labels: Sequence[Tensor]) -> None:
    for images, classes in zip(batches, labels):
        (nn.functional.cross_entropy(module(images), classes) / len(batches)).backward()


def _taylor(tp: Any, module: nn.Module, batches: list[Tensor], labels: list[Tensor]) -> Any:
    _gradients(module, batches, labels)
    return tp.importance.GroupTaylorImportance()


def _hessian(tp: Any, module: nn.Module, batches: list[Tensor], labels: list[Tensor]) -> Any:
    importance = tp.importance.GroupHessianImportance()
    importance.zero_grad()
    for image, label in zip(batches[0], labels[0]):  # one batch: each image takes a backward pass of its own
        module.zero_grad()
        nn.functional.cross_entropy(module(image[None]), label[None]).backward()
        importance.accumulate_grad(module)
    return importance


PEERS: dict[str, Callable[..., Any]] = {
    "GroupMagnitude L1": lambda tp, *_: tp.importance.GroupMagnitudeImportance(p=1),
    "GroupMagnitude L2": lambda tp, *_: tp.importance.GroupMagnitudeImportance(p=2),
    "BNScale": lambda tp, *_: tp.importance.BNScaleImportance(),
    "LAMP": lambda tp, *_: tp.importance.LAMPImportance(),
    "FPGM": lambda tp, *_: tp.importance.FPGMImportance(),
    "GroupTaylor": _taylor,
    "GroupHessian": _hessian,
}


def accuracy(model: Any, module: nn.Module, images: Any) -> float:
    from dataclasses import replace

    from shoestring import evaluate

    return evaluate(replace(model, module=module), images).accuracy


def report() -> None:
    """Write the means over seeds as results/pruning.json, and as a table."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in ROWS.read():
        groups.setdefault(tuple(row[name] for name in ROWS.key[:-1]), []).append(row)
    means = []
    for key, rows in groups.items():
        entry = dict(zip(ROWS.key, key)) | {"seeds": len(rows), "params": rows[0]["params"]}
        for name in ("train", "test"):
            values = [row[name] for row in rows]
            entry |= {name: round(statistics.mean(values), 4), f"{name}_range": [min(values), max(values)]}
        means.append(entry | {"seconds": max(row["seconds"] for row in rows)})
    (RESULTS / "pruning.json").write_text(
        json.dumps({"machine": ROWS.read()[0]["machine"], "methods": means}, indent=1) + "\n"
    )
    if "<!-- no-training -->" in PAGE.read_text():
        fill(PAGE, **{"no-training": _table(means)})


def _table(means: list[dict[str, Any]]) -> str:
    networks = list(dict.fromkeys(entry["network"] for entry in means))
    lines = [f"| tool | criterion | {' | '.join(networks)} |", f"|---|---|{'---|' * len(networks)}"]
    cells: dict[tuple[str, str], dict[str, str]] = {}
    for entry in sorted(means, key=lambda entry: (entry["network"], -entry["test"])):
        name = f"`{entry['method']}`, compensated" if entry["compensate"] else f"`{entry['method']}`"
        name = "not pruned" if entry["tool"] == "none" else name
        low, high = (100 * value for value in entry["test_range"])
        text = f"{100 * entry['test']:.1f} %" + (f" ({low:.1f} to {high:.1f})" if high - low > 0.05 else "")
        cells.setdefault((entry["tool"], name), {})[entry["network"]] = text
    for (tool, name), own in cells.items():
        shown = {"none": "", "torch-pruning": "Torch-Pruning"}.get(tool, tool)
        lines.append(f"| {shown} | {name} | {' | '.join(own.get(network, '') for network in networks)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
