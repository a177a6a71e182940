"""Results as short tables on stdout."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shoestring.config.units import format_percent
from shoestring.escaping import printable
from shoestring.reporting.markdown import describe_class_weights, summary
from shoestring.reporting.multi_label import is_multi_label

_UNLIMITED = 1_000_000  # columns, so that nothing is truncated


def show(verb: str, result: dict[str, Any]) -> None:
    """Print the results of a verb."""
    if verb == "select":
        two_columns(_selection(result))
        return
    if verb == "plan":
        _plan(result)
        return
    if verb == "sensitivity":
        _sensitivity(result)
        return
    two_columns(summary(result))
    key, what = ("average_precision", "labels") if is_multi_label(result) else ("recall", "classes")
    measured = [(name, entry) for name, entry in result["per_class"].items() if entry[key] is not None]
    if measured:
        weakest = sorted(measured, key=lambda entry: entry[1][key])[:3]
        figures = ", ".join(f"{name} {format_percent(entry[key])}" for name, entry in weakest)
        print(printable(f"weakest {what}: {figures}"))
    print(printable(f"saved to {result['out']}: report/report.md, {'evaluate/, ' if measured else ''}model"))


def _selection(result: dict[str, Any]) -> list[tuple[str, str]]:
    kept = f", {result['kept']:,} of them from the earlier subset" if result["kept"] else ""
    rows = [("images", f"{result['examples']:,} by {result['method']}{kept}")]
    if result["per_class"] is not None:
        rows.append(("images per class", ", ".join(f"{name} {count}" for name, count in result["per_class"].items())))
    if result["left_out"]:
        rows.append(("excluded", f"{result['left_out']:,} images"))
    if duplicates := result.get("test_images_in_training"):
        rows.append(("test images with near duplicates in training", f"{len(duplicates):,}, such as {duplicates[0]}"))
    return [*rows, ("file", result["subset"]), ("time", f"{result['seconds']:.1f} s")]


def _sensitivity(result: dict[str, Any]) -> None:
    print(f"each layer pruned alone by {result['method']}, on {result['images']:,} {result['split']} images:")
    grid(
        ("layers", "channels", "kept", "loss", "predictions changed", "accuracy", "MACs", "parameters"),
        (
            [
                row["group"],
                str(row["channels"]),
                str(row["kept"]),
                f"{row['loss']:.4f}",
                format_percent(row["changed"]),
                format_percent(row["accuracy"]),
                f"{row['macs']:,}",
                f"{row['params']:,}",
            ]
            for row in result["groups"]
        ),
    )


def _plan(result: dict[str, Any]) -> None:
    budget, training = result["budget"], result["training"]
    unit = {"seconds": "s", "epochs": "epochs", "flops": "FLOPs"}[budget["unit"]]
    parts = [f"{budget[step]:.4g} {step}" for step in budget if step not in ("unit", "total") and budget[step]]
    two_columns(
        [
            ("budget", f"{budget['total']:.4g} {unit}: {', '.join(parts)}"),
            ("training images", f"{result['examples']:,}, {training['epochs']:.1f} epochs"),
            ("parameters, MACs per image", f"{training['parameters']:,}, {training['macs']:,}"),
        ]
    )
    grid(("answer", "value", "reason"), _answers(result["plan"]))
    grid(("stage", "width", "depth", "resolution", "fraction", "images/s", "epochs", "steps"), _stages(training))


def _answers(plan: dict[str, Any]) -> Iterable[Sequence[str]]:
    """Rows of the plan: what was answered, how, and why."""
    train, reasons = plan["train"], plan["reasons"]
    options = "".join(f", {name} {value}" for name, value in plan["options"].items())
    side = plan["resolution"]
    tuned = train["fine_tune"]
    network = f", resized to {train['side']} for the network" if train["side"] not in (None, side) else ""
    values = {
        "resolution": f"{side} x {side} pixels{network}",
        "select": plan["select"],
        "features": plan["features"],
        "proxy": plan["proxy"] and _training(plan["proxy"]),
        "model": f"{plan['model']}{options}",
        "weights": plan["weights"] or "none",
        "fine_tune": tuned and tuned["tune"] + _views(tuned.get("views")),
        "grow": train["grow"],
        "batch_size": train["batch_size"],
        "optimizer": _optimizer(train),
        "precision": train["precision"],
        "augment": _augmentation(train["augment"]),
        "class_weights": train["class_weights"] and describe_class_weights(train["class_weights"]),
        "tta": plan["tta"],
        "prune": plan["prune"],
        "recovery": plan["recovery"] and _training(plan["recovery"]),
        "unlabeled": plan.get("unlabeled") and _unlabeled(plan["unlabeled"]),
    }
    for name, value in values.items():
        if value is not None:
            yield name.replace("_", " "), str(value), reasons.get(name, "")


def _training(train: Mapping[str, Any]) -> str:
    """Describe another training than that of the network: "muon, peak learning rate 0.2, batch size 128"."""
    return f"{_optimizer(train)}, batch size {train['batch_size']}"


def _optimizer(train: Mapping[str, Any]) -> str:
    return f"{train['optimizer']}, peak learning rate {train['learning_rate']:.3g}"


def _views(count: int | None) -> str:
    """Describe how often the frozen part of a network is run."""
    return f", the frozen part once for {count} view{'s' * (count > 1)} of each image" if count else ""


def _unlabeled(plan: Mapping[str, Any]) -> str:
    """Describe how images without labels are used."""
    least = plan["confidence"]
    confident = "those that it is sure of" if least is None else f"those with a probability of at least {least:g}"
    return f"after {100 * plan['first']:.0f} % of the training, the network labels {confident}"


def _augmentation(augment: Mapping[str, Any]) -> str:
    """Describe the augmentation: "flip, shift 0.125, strength 0.5,1"."""
    parts = [
        name if value is True else f"{name} {value:g}"
        for name, value in augment.items()
        if value and name != "strength"
    ]
    strength = augment.get("strength", ())
    if parts and any(factor != 1 for factor in strength):
        parts.append(f"strength {','.join(f'{factor:g}' for factor in strength)}")
    return ", ".join(parts) or "none"


def _stages(training: dict[str, Any]) -> Iterable[Sequence[str]]:
    for number, phase in enumerate(training["phases"], 1):
        speed = "-" if phase["images_per_second"] is None else f"{phase['images_per_second']:,.0f}"
        sizes = [f"{phase[name]:.3g}" for name in ("width", "depth", "side")]
        work = [f"{100 * phase['fraction']:.0f} %", speed, f"{phase['epochs']:.2f}", f"{phase['steps']:,}"]
        yield [str(number), *sizes, *work]


def two_columns(rows: Iterable[Sequence[str]]) -> None:
    """Print names and values side by side."""
    grid(("", ""), rows)


def grid(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; in a log file, it is as wide as its content."""
    table = Table(box=box.SIMPLE if any(header) else None, show_header=any(header), pad_edge=False)
    for name in header:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    width = None if sys.stdout.isatty() else _UNLIMITED
    console = Console(highlight=False, markup=False, emoji=False, width=width, soft_wrap=True)
    if width is None:
        console.print(table)
        return
    with console.capture() as capture:
        console.print(table)
    for line in capture.get().splitlines():
        print(line.rstrip())  # not padded to the width of the table
