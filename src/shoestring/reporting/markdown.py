"""report.md: one page of plain Markdown that says what a run did, how good it is and what every saving cost."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from shoestring.config.units import format_seconds
from shoestring.escaping import markdown
from shoestring.runtime.files import write_text


def write_report(folder: Path, result: dict[str, Any]) -> None:
    """Write report/report.md into the run."""
    write_text(folder / "report" / "report.md", page(result))


def page(result: dict[str, Any]) -> str:
    """The whole page."""
    parts = [
        f"# {markdown(headline(result))}",
        *(f"**Warning:** {markdown(warning)}." for warning in result.get("warnings", ())),
        table(("", ""), summary(result)),
        "## Where the time went",
        table(("step", "seconds"), ([name, f"{seconds:.1f}"] for name, seconds in result["ledger"].items())),
        "## Each class",
        table(
            ("class", "images", "recall", "precision", "F1"),
            (
                [name, entry["images"], *(percent(entry[key]) for key in ("recall", "precision", "f1"))]
                for name, entry in result["per_class"].items()
            ),
        ),
        f"All figures are of the final model on the {markdown(result['split'])} split ({result['images']:,} images), "
        "used once, unless they say validation. Intervals are 95 % (Wilson). The confusion matrix is in "
        "`evaluate/confusion.csv`.",
    ]
    return "\n\n".join(parts) + "\n"


def headline(result: dict[str, Any]) -> str:
    """The one sentence."""
    low, high = map(percent, result["interval"])
    return f"Accuracy {percent(result['accuracy'])} ({low} to {high}) on {result['images']:,} {_whose(result['split'])}"


def summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """The rows that matter most, as (what, how much), for the page and the terminal."""
    budget = result["budget"]
    rows = [
        (
            "test accuracy",
            f"{percent(result['accuracy'])}  ({percent(result['interval'][0])} to {percent(result['interval'][1])})",
        ),
        ("validation accuracy", percent(result["validation"])),
        ("loss, calibration error", f"{result['loss']:.3f}, {result['calibration_error']:.3f}"),
        (
            "training images",
            f"{result['examples']:,}" + (f", chosen by {result['select']}" if result["select"] else ""),
        ),
        ("model", _model(result)),
        ("parameters, file", f"{result['params']:,}, {result['file_bytes'] / 1e6:.2f} MB"),
        *_costs(result),
    ]
    if skipped := result.get("skipped"):
        rows.append(("unreadable images left out", f"{skipped:,}, listed in skipped.json"))
    if copies := result.get("test_images_in_training"):
        some = ", ".join(copies[:3]) + (", ..." if len(copies) > 3 else "")
        rows.append(("test images like training images", f"{len(copies):,}: {some}"))
    if before := result["before_pruning"]:
        rows.append(("before pruning", _before(before, result)))
    if baseline := result.get("baseline"):
        gain = 100 * (result["accuracy"] - baseline["accuracy"])
        rows.append(
            ("random images instead", f"{percent(baseline['accuracy'])}: the choice is worth {gain:+.1f} points")
        )
    if budget["unit"] == "seconds":
        rows.append(("time", f"{format_seconds(result['seconds'])} of {format_seconds(budget['total'])}"))
    else:
        rows.append(("time", f"{format_seconds(result['seconds'])} for {budget['total']:g} {budget['unit']}"))
    return rows


def _costs(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Costs of a prediction as it is made, and of each of its forward passes where it takes more than one."""
    prediction, macs = result.get("prediction"), f"{result['macs']:,}"
    if prediction is None:  # of a run of an earlier version
        return [("MACs per forward pass", macs), ("latency per forward pass", latency(result))]
    if prediction["passes"] == 1:
        return [("MACs per prediction", macs), ("latency per prediction", latency(result))]
    return [
        ("forward passes per prediction", described(result)),
        ("MACs per prediction", f"{prediction['macs']:,}"),
        ("MACs per forward pass", f"{macs} (as --macs counts)"),
        ("latency per prediction", latency(prediction)),
        ("latency per forward pass", latency(result)),
    ]


def latency(costs: dict[str, Any]) -> str:
    """1.5 ms alone, 0.2 ms in a batch of 64."""
    batch = costs["latency_batch_ms"]
    together = "no time to measure a batch" if batch is None else f"{batch:.2f} ms in a batch of 64"
    return f"{costs['latency_ms']:.2f} ms alone, {together}"


def described(result: dict[str, Any]) -> str:
    """The forward passes of a prediction on average, and the views that they are of."""
    passes, views = result["prediction"]["passes"], result["views"]
    plain = "the image and its mirror image" if views["mirror"] else "the image"
    moved = 4 if views["mirror"] else 2
    names = {"one": "the image", "flip": plain, "crops": f"{plain}, and where in doubt {moved} moved ones"}
    short = "; time ran short" if set(views["images"]) - {views["model"]} else ""
    made = [(names[name], count) for name, count in views["images"].items()]
    if len(made) == 1:
        return f"{passes:.3g} ({made[0][0]}{short})"
    return f"{passes:.3g} (" + "; ".join(f"{what}: {count:,} images" for what, count in made) + f"{short})"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table of cells that are plain text."""
    lines = [map(markdown, header), ["---"] * len(header), *(map(markdown, row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def percent(share: float | None) -> str:
    """0.9157 -> 91.6 %; a dash for what is not defined."""
    return "-" if share is None else f"{100 * share:.1f} %"


def _whose(split: str) -> str:
    """Images of a split, or of the data that was named instead."""
    return f"{split} images" if split in ("train", "validation", "test") else f"images of {split}"


def _model(result: dict[str, Any]) -> str:
    options = ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in result["options"].items()
    )
    return result["model"] + (f" ({options})" if options else "")


def _before(before: dict[str, Any], result: dict[str, Any]) -> str:
    change = 100 * (result["validation"] - before["validation"])
    what = f"cut, it is {change:+.1f} points" if before["finished"] else "at the cut, with training still to come"
    size = f"{before['params']:,} parameters, {before['macs']:,} MACs"
    return f"{size}, validation {percent(before['validation'])}: {what}"
