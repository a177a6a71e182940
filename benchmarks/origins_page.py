"""The tables of docs/origins.md: measured rows beside the published accuracies, without those not measured."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from typing import Any

from intervals import half_interval
from measured import RESULTS, Row
from origins_arms import ARMS, BEST, FILTERS, ONE_FILTER, PUBLISHED_CLASSES, SHARED, TRAINED, UNPRUNED

Cell = list[Row]  # rows that differ only in their seeds

BACKBONES = {"timm:tf_efficientnet_lite0": "EfficientNet-Lite0"}
DATA = {
    "cifar10": "CIFAR-10",
    "cifar100": "CIFAR-100",
    "fashionmnist": "Fashion-MNIST",
    "tinyimagenet": "Tiny ImageNet",
    "scenes": "Intel scenes",
}
BEST_PUBLISHED = {"coreset": 68.3, "mini": 48.1, "filters": 79.2, "scenes": 92.0}
BEST_FILTERS = "half of the MACs by importance, then trained"
# best answers that other benchmarks measured: origin -> file, what a row must have, and what its command needs today
ELSEWHERE: dict[str, tuple[tuple[str, dict[str, Any], str], ...]] = {
    "coreset": (("transfer.json", {"case": "cifar10-1000-5m", "arm": "auto"}, ""),),
    "mini": (("main_job.json", {"case": "cifar10_chosen_1000"}, " --weights none"),),
    "filters": (("main_job.json", {"case": "cifar10_half_macs"}, ""),),
    "progressive": (
        ("main_job.json", {"case": "cifar10"}, ""),
        ("peers.json", {"peer": "shoestring", "seconds": 3600}, ""),
    ),
    "scenes": (("transfer.json", {"case": "intel-all-5m", "arm": "auto"}, ""),),
}


def blocks(rows: Sequence[Row]) -> dict[str, str]:
    """Return the blocks of the page by name; empty where nothing was measured."""
    result = {origin: arms(rows, origin) for origin in ("coreset", "mini", "scenes")}
    result["progressive"] = "\n\n".join(filter(None, [arms(rows, "progressive"), halves(rows)]))
    result["filters"], result["classes"] = filters(rows), classes(rows)
    result["tickets"] = tickets(rows)
    return result | {f"best_{origin}": best(rows, origin) for origin in ELSEWHERE}


def cells(rows: Sequence[Row]) -> list[Cell]:
    """Group rows that differ only in their seeds, in the order of their first rows."""
    groups: dict[str, Cell] = {}
    for row in sorted(rows, key=lambda row: row["seed"]):
        key = ("origin", "recipe", "arm", "data", "network", "device", "scale", "backbone", "flags")
        groups.setdefault(json.dumps([row[name] for name in key]), []).append(row)
    return list(groups.values())


def arms(rows: Sequence[Row], origin: str) -> str:
    """Return the table of the arms of an origin, in their order."""
    order = {(arm.recipe, arm.name, arm.data): number for number, arm in enumerate(ARMS) if arm.verb == "run"}
    found = [row for row in rows if row["origin"] == origin and row["arm"] != BEST and "tickets" not in row]
    lines = []
    for cell in sorted(cells(found), key=lambda cell: _place(cell[0], order)):
        row, several = cell[0], origin == "progressive"
        name = f"{DATA[row['data']]}, {row['arm']}" if several else row["arm"]
        lines.append([name, _published(row), accuracy(cell), f"{row['epochs']:.3g}", circumstances(row)])
    return table(("training", "published", "measured", "epochs", "measured with"), lines)


def _place(row: Row, order: dict[tuple[Any, ...], int]) -> int:
    return order.get((row["recipe"], row["arm"], row["data"]), order.get((row["recipe"], row["arm"], None), len(order)))


def halves(rows: Sequence[Row]) -> str:
    """Say for each data set what is lost in half the time, by annealing alone and by growing."""
    groups: dict[tuple[Any, ...], dict[str, Cell]] = {}
    for cell in cells([row for row in rows if row["origin"] == "progressive"]):
        row = cell[0]
        key = row["data"], row["device"], row["scale"], tuple(row["flags"])
        groups.setdefault(key, {})[row["arm"].partition(",")[0]] = cell
    lines = []
    for (data, *_), found in groups.items():
        if {"conventional", "annealed", "grown"} <= found.keys():
            full, annealed, grown = (mean(found[name]) for name in ("conventional", "annealed", "grown"))
            lines.append(
                f"{DATA[data]}: of {full:.1f} % in the full time, annealing alone keeps {annealed:.1f} % in half of it "
                f"({annealed - full:+.1f} points), and growing {grown:.1f} % ({grown - full:+.1f} points)."
            )
    return "\n".join(f"- {line}" for line in lines)


def filters(rows: Sequence[Row]) -> str:
    """Return the table of clustered filters."""
    order = list(FILTERS)
    found = cells([row for row in rows if row["origin"] == "filters"])
    lines = []
    for cell in sorted(found, key=lambda cell: (cell[0]["network"], order.index(cell[0]["arm"]))):
        row = cell[0]
        size = f"{row['macs'] / 1e6:.1f} M"
        lines.append([row["arm"], _network(row), _published(row), accuracy(cell), size, f"{row['epochs']:.3g}"])
    return table(("filters", "weights", "published", "measured", "MACs", "epochs of training after"), lines)


def classes(rows: Sequence[Row]) -> str:
    """Return the accuracy of each class before clustering and the changes, as published and as measured."""
    shown = {ONE_FILTER: "kernels of one filter", SHARED: "filters shared", TRAINED: "shared, then trained"}
    found = cells([row for row in rows if row["origin"] == "filters"])
    networks = sorted({cell[0]["network"] for cell in found})
    by_name = {name: _recalls(found, name, networks[0]) for name in (UNPRUNED, *shown)} if networks else {}
    before = by_name.get(UNPRUNED)
    if not before:
        return ""
    after = {title: by_name[name] for name, title in shown.items() if by_name[name]}
    lines = []
    for name, (published, change) in PUBLISHED_CLASSES.items():
        cells_of_class = [f"{100 * (recall[name] - before[name]):+.1f}" for recall in after.values()]
        lines.append([name, f"{published} %", f"{change:+d}", f"{100 * before[name]:.1f} %", *cells_of_class])
    return table(("class", "published before", "published change", "before", *after), lines)


def _recalls(found: Sequence[Cell], arm: str, network: str) -> dict[str, float]:
    """Return the mean recall of each class; empty if the row was not measured."""
    cell = next((cell for cell in found if (cell[0]["arm"], cell[0]["network"]) == (arm, network)), [])
    return {name: statistics.mean(row["per_class"][name] for row in cell) for name in PUBLISHED_CLASSES if cell}


def tickets(rows: Sequence[Row]) -> str:
    """Return the accuracies of lottery tickets by remaining weights, beside their controls."""
    parts = []
    for cell in cells([row for row in rows if "tickets" in row]):
        entries = [entry for row in cell for entry in row["tickets"]]
        networks = [name for name in dict.fromkeys(entry["network"] for entry in entries) if name != "dense"]
        lines = []
        for level in sorted({entry["level"] for entry in entries}):
            own = [entry for entry in entries if entry["level"] == level]
            weights = f"{100 * statistics.mean(entry['weights'] for entry in own):.3g} %"
            if level == 0:
                lines.append([weights, _mean_of(own, "dense"), *["" for _ in networks[1:]]])
            else:
                lines.append([weights, *(_mean_of(own, name) for name in networks)])
        parts.append(f"{circumstances(cell[0])}:\n\n" + table(("weights left", *networks), lines))
    return "\n\n".join(parts)


def _mean_of(entries: Sequence[dict[str, Any]], network: str) -> str:
    values = [100 * entry["mean"] for entry in entries if entry["network"] == network]
    return f"{statistics.mean(values):.1f} %" if values else "-"


def best(rows: Sequence[Row], origin: str) -> str:
    """Return the table of the best answers to the question of an origin, here and in other benchmarks."""
    lines = []
    for cell in cells([row for row in rows if row["origin"] == origin and row["arm"] in (BEST, BEST_FILTERS)]):
        row = cell[0]
        what = f"`{' '.join(row['command'])}`" if "command" in row else f"ResNet-20, {row['arm']}"
        lines.append([what, accuracy(cell), circumstances(row)])
    for file, wanted, flags in ELSEWHERE[origin]:
        found = [row for row in json.loads((RESULTS / file).read_text()) if wanted.items() <= row.items()]
        if found:
            where = f"{_hardware(found[0])}, `{file}`"
            lines.append([f"`{' '.join(found[0]['command'])}{flags}`", accuracy(found), where])
    published = BEST_PUBLISHED.get(origin)
    title = "our best" if published is None else f"our best (published: {published} %)"
    return table((title, "test accuracy", "measured with"), lines)


def accuracy(cell: Cell) -> str:
    """Return the accuracy in percent: of one seed with the interval of the test images, else with that of the mean."""
    values = [100 * row["accuracy"] for row in cell]
    if len(values) > 1:
        return f"{statistics.mean(values):.1f} ± {half_interval(values):.1f} ({len(values)} seeds)"
    low, high = cell[0]["interval"]
    return f"{values[0]:.1f} ({100 * low:.1f} to {100 * high:.1f})"


def mean(cell: Cell) -> float:
    return 100 * statistics.mean(row["accuracy"] for row in cell)


def circumstances(row: Row) -> str:
    """Say on what a row was measured, and what differs from the recipe."""
    budget = row.get("budget") or {}
    parts = [f"{budget['total']:g} s"] if budget.get("unit") == "seconds" else []
    if row["scale"] != 1 and not parts and "frozen" not in row["arm"]:  # whose head is fitted in one pass
        parts.append(f"{row['scale']:g} of the epochs")
    if row["backbone"] and row.get("model") == row["backbone"] and row["recipe"]:
        parts.append(BACKBONES.get(row["backbone"], row["backbone"]))
    if row["backbone"] and row["origin"] == "coreset" and row.get("select") == "forgetting":
        parts.append("a small proxy")
    flags = list(row["flags"])
    if row.get("select") == "random" and "--proxy-epochs" in flags:  # there is no proxy
        at = flags.index("--proxy-epochs")
        del flags[at : at + 2]
    return ", ".join([*parts, *([f"`{' '.join(flags)}`"] if flags else []), _hardware(row)])


def _hardware(row: Row) -> str:
    machine = row["machine"]
    on_gpu = machine.get("gpu") and not str(row.get("device", "cpu")).startswith("cpu")
    return machine["gpu"] if on_gpu else f"{machine['cores']} CPU cores"


def _network(row: Row) -> str:
    return {"given": "published elsewhere", "trained": "trained here"}[row["network"]]


def _published(row: Row) -> str:
    return "" if row["published"] is None else f"{row['published']:.1f}"


def table(header: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table; an empty text without lines."""
    if not lines:
        return ""
    rows = [header, ["---"] * len(header), *lines]
    return "\n".join(f"| {' | '.join(line)} |" for line in rows)
