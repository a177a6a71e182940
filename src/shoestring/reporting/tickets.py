"""Results of a lottery ticket experiment: summaries over seeds, as table, CSV and Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shoestring.config.tickets import CONTROLS
from shoestring.config.units import format_percent
from shoestring.escaping import markdown, write_csv
from shoestring.reporting.markdown import table
from shoestring.runtime.files import atomic_write, write_text

_COLUMNS = ("seed", "level", "network", "weights", "accuracy", "validation", "epochs", "steps", "seconds")
_NO_SPEED = "Masks give no speed and save no memory: a masked network computes as much as the dense one."


def summarize(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return one entry per level and network: mean, minimum, maximum and 95 % interval of the accuracy over seeds.

    The accuracy is that on the test images, or on the validation images if there are none. The interval is that of the
    mean by Student's t distribution, None for one seed.
    """
    keys = dict.fromkeys((row["level"], row["network"]) for row in rows)
    summary = []
    for level, network in sorted(keys, key=lambda key: key[0]):
        own = [row for row in rows if (row["level"], row["network"]) == (level, network)]
        figures = [row["validation"] if row["accuracy"] is None else row["accuracy"] for row in own]
        entry = {
            "level": level,
            "network": network,
            "weights": _mean([row["weights"] for row in own]),
            "seeds": len(own),
        }
        summary.append(entry | _statistics([figure for figure in figures if figure is not None]))
    return summary


def winner(rows: Sequence[Mapping[str, Any]], seed: int) -> Mapping[str, Any] | None:
    """Return the row of the smallest ticket of a seed that is not worse than the dense network on validation images.

    Without validation images it is that of the smallest ticket, and if all are worse, that of the dense network.
    """
    own = [row for row in rows if row["seed"] == seed and row["network"] in ("dense", "ticket")]
    dense = next((row for row in own if row["network"] == "dense"), None)
    if dense is None:
        return None
    good = [row for row in own if dense["validation"] is None or row["validation"] >= dense["validation"]]
    return max(good, key=lambda row: row["level"])


def notes(result: Mapping[str, Any]) -> list[str]:
    """Return what the numbers do not say: about speed, frozen weights, and the saved network."""
    best, channels = result["winner"], result["channels"]
    lines = []
    if channels is None:
        lines.append(f"{_NO_SPEED} --to-channels removes channels that are dead.")
    else:
        (params, fewer), (macs, less) = channels["params"], channels["macs"]
        if (fewer, less) == (params, macs):
            lines.append(f"{_NO_SPEED} The saved network has no dead channels to remove.")
        else:
            lines.append(
                f"{_NO_SPEED} Without its dead channels the saved network has {fewer:,} of {params:,} parameters and "
                f"takes {less:,} of {macs:,} MACs."
            )
    frozen, total = result["frozen_weights"], result["prunable_weights"]
    if frozen:
        lines.append(
            f"{frozen:,} of the {total:,} weights that can be removed are frozen. Removing them is plain magnitude "
            "pruning, not a lottery ticket, because they are never trained."
        )
    if best is not None:
        which = "smallest ticket that is not worse than the dense network on the validation images"
        if best["validation"] is None:
            which = "last ticket, as there are no validation images to choose by"
        elif best["network"] == "dense":
            which = "dense one, as all tickets of the first seed are worse on the validation images"
        lines.append(f"The saved network is the {which}; it has {100 * best['weights']:.3g} % of the weights.")
    return lines


def _statistics(values: Sequence[float]) -> dict[str, Any]:
    if not values:
        return {"mean": None, "min": None, "max": None, "interval": None}
    mean, count = _mean(values), len(values)
    interval = None
    if count > 1:
        from scipy.special import stdtrit

        deviation = math.sqrt(sum((value - mean) ** 2 for value in values) / (count - 1))
        half = float(stdtrit(count - 1, 0.975)) * deviation / math.sqrt(count)
        interval = [mean - half, mean + half]
    return {"mean": mean, "min": min(values), "max": max(values), "interval": interval}


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def grid_of(summary: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Return header and rows of a table with one line per level and one column per network."""
    networks = [name for name in ("ticket", *CONTROLS) if any(entry["network"] == name for entry in summary)]
    cells = {(entry["level"], entry["network"]): _cell(entry) for entry in summary}
    rows = []
    for level in sorted({entry["level"] for entry in summary}):
        weights = next(entry["weights"] for entry in summary if entry["level"] == level)
        own = [cells.get((level, name), "") for name in networks]
        dense = cells.get((level, "dense"), "")
        rows.append([str(level), f"{100 * weights:.3g} %", dense, *own])
    return ["level", "weights", "dense", *networks], rows


def _cell(entry: Mapping[str, Any]) -> str:
    mean = format_percent(entry["mean"])
    if entry["seeds"] == 1 or entry["mean"] is None:
        return mean
    return f"{mean} ({100 * entry['min']:.1f} to {100 * entry['max']:.1f})"


def write_files(folder: Path, result: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write tickets.csv and report/report.md into a run folder."""
    with atomic_write(folder / "tickets.csv") as temporary, temporary.open("w", newline="", encoding="utf-8") as out:
        write_csv(out, _COLUMNS, ([row[name] for name in _COLUMNS] for row in rows))
    write_text(folder / "report" / "report.md", page(result))


def page(result: Mapping[str, Any]) -> str:
    """Render the report."""
    networks = {entry["network"] for entry in result["summary"]}
    parts = [
        f"# Lottery tickets of {markdown(result['model'])}",
        table(*grid_of(result["summary"])),
        " ".join(markdown(note) for note in result["notes"]),
        "\n".join(f"- `{name}`: {text}." for name, text in CONTROLS.items() if name in networks),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"
