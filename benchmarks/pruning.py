"""Pruning without training: half of the channels inside of the blocks of published CIFAR-10 networks.

    pip install torch-pruning
    python benchmarks/pruning.py CIFAR10 WEIGHTS_FOLDER [--seeds 3] [--networks resnet20,resnet56] [--test 2000]
        [--own NAMES]

WEIGHTS_FOLDER holds resnet20_cifar10.safetensors and resnet56_cifar10.safetensors. Every criterion of shoestring and of
Torch-Pruning keeps half of the filters of the first convolution of each block. Then batch-norm statistics are
re-estimated on the same 1,000 random training images, which are also all that the criteria see; Torch-Pruning's Taylor
and Hessian criteria and `taylor` use their labels. shoestring also compensates. All methods are compared on 1,000 other
training images, with one seed. Only shoestring's default and the best criterion of Torch-Pruning are then evaluated on
`--test` random test images, with all seeds, which draw the training images. `--own` restricts the criteria of
shoestring. Times are those of the processor, so that other processes do not matter. Each row is saved at once, so the
benchmark can be interrupted and resumed. Writes results/pruning.json and, between markers `no-training` and
`no-training-all`, the tables of docs/pruning.md.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from machine import machine
from measured import Row, Rows, fill

SIZE = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PAGE = Path(__file__).parent.parent / "docs" / "pruning.md"
CALIBRATION, VALIDATION = 1000, 1000  # training images
OWN, PEER = "shoestring", "Torch-Pruning"
ROWS = Rows("pruning.json", ("network", "tool", "method", "compensate", "split", "seed"))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data")
    parser.add_argument("weights", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--networks", default="resnet20,resnet56")
    parser.add_argument("--test", type=int, default=2000)
    parser.add_argument("--own", help="criteria of shoestring (default: all), comma-separated")
    args = parser.parse_args()
    from shoestring.config import registry

    own = args.own.split(",") if args.own else sorted(registry.names("prune"), key=lambda name: name != "greedy")
    for network in args.networks.split(","):
        bench = Bench(network, args.data, args.weights, args.test)
        bench.measure("", "-", False, "validation", 0)
        for method in own:
            for compensate in (True, False):
                bench.measure(OWN, method, compensate, "validation", 0)
        for method in PEERS:
            bench.measure(PEER, method, False, "validation", 0)
        for seed in range(args.seeds):
            for tool in (OWN, PEER):
                bench.measure(tool, *best(network, tool), "test", seed)
            bench.measure("", "-", False, "test", seed)
    write_tables()


class Bench:
    """A published network, the images that it is pruned with, and those that it is evaluated on."""

    def __init__(self, network: str, data: str, weights: Path, test: int) -> None:
        from shoestring import load
        from shoestring.models import Preprocessing, build

        self.network, self.hardware, images = network, machine(), load(data)
        self.train = images.train
        self.test = images.test[np.random.default_rng(0).permutation(len(images.test))[:test]]
        size, file = Preprocessing(32, 3, *SIZE), weights / f"{network}_cifar10.safetensors"
        self.model = build(network, classes=images.train.classes, preprocessing=size, weights=str(file))
        self.model.module.eval()

    def measure(self, tool: str, method: str, compensate: bool, split: str, seed: int) -> None:
        """Add the row of a method, if it is missing."""
        row: Row = dict(zip(ROWS.key, (self.network, tool, method, compensate, split, seed)))
        if ROWS.have(row):
            return
        start = time.process_time()
        module = self.pruned(tool, method, compensate, seed)
        row["cpu_seconds"] = round(time.process_time() - start, 2)
        images = self.test if split == "test" else self.train[self.order(seed)[-VALIDATION:]]
        row |= {"accuracy": accuracy(self.model, module, images), "images": len(images)}
        row["params"] = sum(weight.numel() for weight in module.parameters())
        ROWS.put({**row, "machine": {name: self.hardware[name] for name in ("cpu", "cores", "torch", "commit")}})
        print(*row.values(), flush=True)

    def pruned(self, tool: str, method: str, compensate: bool, seed: int) -> nn.Module:
        """Return the network pruned with images drawn with this seed; without a tool as it is."""
        if not tool:
            return self.model.module
        sample = self.train[self.order(seed)[:CALIBRATION]]
        batches = [self.model.prepare(part) for part in torch.from_numpy(sample.pixels).split(125)]
        labels = list(torch.from_numpy(sample.labels).split(125))
        if tool == OWN:
            return ours(self.model, batches, labels, method, compensate)
        return theirs(self.model.module, batches, labels, method)

    def order(self, seed: int) -> Any:
        """Return the indices (N,) of the training images in random order: calibration is first, validation last."""
        return np.random.default_rng(seed).permutation(len(self.train))


def best(network: str, tool: str) -> tuple[str, bool]:
    """Return the default of shoestring, or Torch-Pruning's best method on validation images, and if it compensates."""
    if tool == OWN:
        return "greedy", True
    rows = [row for row in ROWS.read() if (row["network"], row["tool"], row["split"]) == (network, tool, "validation")]
    if not rows:
        raise SystemExit(f"there are no results of {tool} for {network}: run benchmarks/pruning.py first")
    winner = max(rows, key=lambda row: row["accuracy"])
    return winner["method"], winner["compensate"]


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
    from shoestring import evaluate

    return evaluate(replace(model, module=module), images).accuracy


def write_tables() -> None:
    """Write the tables of the page: the best methods on test images, and all of them on validation images."""
    rows = ROWS.read()
    networks = list(dict.fromkeys(row["network"] for row in rows))
    lines = ["| network | pruned by | criterion | parameters | test accuracy | processor seconds |"]
    lines.append("|---|---|---|---|---|---|")
    for network in networks:
        found = [row for row in rows if row["network"] == network and row["split"] == "test"]
        for tool in dict.fromkeys(row["tool"] for row in found):
            own = [row for row in found if row["tool"] == tool]
            seconds = f"{max(row['cpu_seconds'] for row in own):.0f}" if tool else "-"
            cells = (network, tool or "not pruned", named(own[0]), f"{own[0]['params']:,}", spread(own), seconds)
            lines.append(f"| {' | '.join(cells)} |")
    everything = [f"| tool | criterion | {' | '.join(networks)} |", f"|---|---|{'---|' * len(networks)}"]
    compared = [row for row in rows if row["split"] == "validation" and row["tool"]]
    compared.sort(key=lambda row: (networks.index(row["network"]), -row["accuracy"]))
    for tool, name in dict.fromkeys((row["tool"], named(row)) for row in compared):
        own = {row["network"]: row["accuracy"] for row in compared if (row["tool"], named(row)) == (tool, name)}
        cells = [f"{100 * own[network]:.1f} %" if network in own else "-" for network in networks]
        everything.append(f"| {tool} | {name} | {' | '.join(cells)} |")
    fill(PAGE, **{"no-training": "\n".join(lines), "no-training-all": "\n".join(everything)})


def named(row: Row) -> str:
    """Return the method of a row as a cell of a table."""
    name = f"`{row['method']}`" if row["tool"] else "-"
    return f"{name}, compensated" if row["compensate"] else name


def spread(rows: Sequence[Row]) -> str:
    """Return the mean accuracy of rows, and its range."""
    values = [100 * row["accuracy"] for row in rows]
    text = f"{statistics.mean(values):.1f} %"
    return f"{text} ({min(values):.1f} to {max(values):.1f})" if max(values) > min(values) else text


if __name__ == "__main__":
    main()
