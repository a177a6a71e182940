"""report.md: one Markdown page with what a run did, how accurate it is and what each saving cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from shoestring.config.units import format_interval, format_percent, format_seconds
from shoestring.escaping import markdown
from shoestring.reporting.multi_label import class_table, is_multi_label, label_headline, label_rows
from shoestring.reporting.unlabeled import unlabeled_rows
from shoestring.runtime.files import write_text

_LABELS = (
    "A label is predicted if its probability is at least 50 %; `all labels right` is the fraction of images without "
    "any wrong label. `evaluate/predictions.csv` holds all labels and probabilities."
)
_STEP_NAMES = {"plan": "planning", "forecast": "planning"}  # key of the ledger -> name in the report; by version


def write_report(folder: Path, result: dict[str, Any]) -> None:
    """Write report/report.md into a run folder."""
    write_text(folder / "report" / "report.md", page(result))


def page(result: dict[str, Any]) -> str:
    """Render the page."""
    ledger, several = result["ledger"], is_multi_label(result)
    more = _LABELS if several else "The confusion matrix is in `evaluate/confusion.csv`."
    once = ", on which its probabilities are calibrated" if result["split"] == "validation" else ", which is used once"
    parts = [
        f"# {markdown(headline(result))}",
        *(f"**Warning:** {markdown(warning)}." for warning in result.get("warnings", ())),
        table(("", ""), summary(result)),
        "## Time by step",
        table(("step", "seconds"), ((step_name(name), f"{time:.1f}") for name, time in ledger.items())),
        "## Labels" if several else "## Classes",
        table(*class_table(result)),
        f"Unless marked as validation, metrics are of the final model on the {markdown(result['split'])} split "
        f"({result['images']:,} images){once}. Intervals are 95 % (Wilson). {more}",
    ]
    return "\n\n".join(parts) + "\n"


def step_name(key: str) -> str:
    """Return the name of a step of the ledger for readers."""
    return _STEP_NAMES.get(key, key)


def headline(result: dict[str, Any]) -> str:
    """Summarize the result in one sentence."""
    if result["accuracy"] is None:
        return f"Accuracy not measured, as there are no {_split_images(result['split'])}"
    images = f"{result['images']:,} {_split_images(result['split'])}"
    if is_multi_label(result):
        return label_headline(result, images)
    return f"Accuracy {format_percent(result['accuracy'])} ({format_interval(result['interval'])}) on {images}"


def summary(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the most important rows as (name, value), for the page and the terminal."""
    rows = [
        *_accuracies(result),
        (
            "training images",
            f"{result['examples']:,}" + (f", selected by {result['select']}" if result["select"] else ""),
        ),
        ("model", _model(result)),
        ("parameters, file", f"{result['params']:,}, {result['file_bytes'] / 1e6:.2f} MB"),
        *_costs(result),
    ]
    if weights := result.get("class_weights"):
        rows.append(("class weights", describe_class_weights(weights)))
    rows += unlabeled_rows(result)
    if skipped := result.get("skipped"):
        rows.append(("unreadable images skipped", f"{skipped:,}, listed in skipped.json"))
    if duplicates := result.get("test_images_in_training"):
        examples = ", ".join(duplicates[:3]) + (", ..." if len(duplicates) > 3 else "")
        rows.append(("test images also in training", f"{len(duplicates):,}: {examples}"))
    if before := result["before_pruning"]:
        rows.append(("before pruning", _before_pruning(before, result)))
    if baseline := result.get("baseline"):
        rows.append(("random subset instead", _baseline(baseline["accuracy"], result["accuracy"])))
    return [*rows, ("time", _time(result))]


def _accuracies(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows on how good the predictions are."""
    validation = ("validation accuracy", format_percent(result["validation"]))
    if result["accuracy"] is None:
        return [("test accuracy", "not measured, as there are no test images"), validation]
    loss = ("loss, calibration error", f"{result['loss']:.3f}, {result['calibration_error']:.3f}")
    if is_multi_label(result):
        return [*label_rows(result), ("all labels right, validation", format_percent(result["validation"])), loss]
    return [
        (
            f"{result['split']} accuracy",
            f"{format_percent(result['accuracy'])}  ({format_interval(result['interval'])})",
        ),
        *averages(result),
        *([validation] if result["split"] != "validation" else []),
        loss,
    ]


def averages(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return rows of metrics beside the accuracy, as far as they are known: of equal classes, and of five guesses."""
    rows = []
    if "balanced_accuracy" in result:
        values = (result["balanced_accuracy"], result["macro_f1"])
        rows.append(("balanced accuracy, macro F1", ", ".join(map(format_percent, values))))
    if result.get("top5_accuracy") is not None:
        rows.append(("top-5 accuracy", format_percent(result["top5_accuracy"])))
    return rows


def describe_class_weights(weights: str | Mapping[str, float]) -> str:
    """Describe class weights: "balanced", or "cat=2, dog=1"."""
    if isinstance(weights, str):
        return weights
    return ", ".join(f"{name}={weight:g}" for name, weight in weights.items())


def _baseline(random: float | None, selected: float | None) -> str:
    gain = "" if random is None or selected is None else f": selection gains {100 * (selected - random):+.1f} points"
    return format_percent(random) + gain


def _time(result: dict[str, Any]) -> str:
    budget, seconds = result["budget"], format_seconds(result["seconds"])
    if budget["unit"] == "seconds":
        return f"{seconds} of {format_seconds(budget['total'])}"
    return f"{seconds} for {budget['total']:g} {budget['unit']}"


def _costs(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the costs of a prediction, and those of a forward pass if a prediction takes several."""
    prediction, macs = result.get("prediction"), f"{result['macs']:,}"
    if prediction is None:  # run of an earlier version
        return [("MACs per forward pass", macs), ("latency per forward pass", latency(result))]
    if prediction["passes"] == 1:
        return [("MACs per prediction", macs), ("latency per prediction", latency(result))]
    return [
        ("forward passes per prediction", describe_tta(result)),
        ("MACs per prediction", f"{prediction['macs']:,}"),
        ("MACs per forward pass", f"{macs} (as --macs counts)"),
        ("latency per prediction", latency(prediction)),
        ("latency per forward pass", latency(result)),
    ]


def latency(costs: dict[str, Any]) -> str:
    """Format latencies: "1.50 ms for a single image on one thread (1.10 ms on 2), 0.20 ms in a batch of 64"."""
    batch = costs["latency_batch_ms"]
    batched = "no time to measure a batch" if batch is None else f"{batch:.2f} ms in a batch of 64"
    threads = costs.get("latency_threads_ms")
    more = "" if threads is None else f" ({threads:.2f} ms on {costs['latency_threads']})"
    return f"{costs['latency_ms']:.2f} ms for {a_single_image(costs)}{more}, {batched}"


def a_single_image(costs: Mapping[str, Any]) -> str:
    """Say what `latency_ms` is of; runs of earlier versions measured it on any number of threads."""
    return "a single image" if costs.get("latency_threads") is None else "a single image on one thread"


def describe_tta(result: dict[str, Any]) -> str:
    """Describe test-time augmentation: forward passes per prediction on average, and what they are of."""
    passes, tta = result["prediction"]["passes"], result.get("tta") or result["views"]  # as it was called before
    flip = "the image and its mirror image" if tta["mirror"] else "the image"
    shifted = 4 if tta["mirror"] else 2
    crops = f"{flip}, and {shifted} shifted copies if the prediction is ambiguous"
    descriptions = {"none": "the image", "one": "the image", "flip": flip, "crops": crops}
    short = "; less than planned, for lack of time" if set(tta["images"]) - {tta["model"]} else ""
    modes = [(descriptions[mode], count) for mode, count in tta["images"].items()]
    if len(modes) == 1:
        return f"{passes:.3g} ({modes[0][0]}{short})"
    return f"{passes:.3g} (" + "; ".join(f"{text}: {count:,} images" for text, count in modes) + f"{short})"


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Render a Markdown table of plain-text cells."""
    lines = [map(markdown, header), ["---"] * len(header), *(map(markdown, row) for row in rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _split_images(split: str) -> str:
    """Describe the images of a split, or of the data set given in its place."""
    return f"{split} images" if split in ("train", "validation", "test") else f"images of {split}"


def _model(result: dict[str, Any]) -> str:
    options = ", ".join(
        f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}" for key, value in result["options"].items()
    )
    return result["model"] + (f" ({options})" if options else "")


def _before_pruning(before: dict[str, Any], result: dict[str, Any]) -> str:
    effect = "at the time of pruning; training continued afterwards"
    if before["finished"] and before["validation"] is not None and result["validation"] is not None:
        effect = f"{100 * (result['validation'] - before['validation']):+.1f} points after pruning"
        if "p_value" in before:
            low, high = (100 * bound for bound in before["interval"])
            effect += f" (95 % interval {low:+.1f} to {high:+.1f}, McNemar p {before['p_value']:.2g})"
    size = f"{before['params']:,} parameters, {before['macs']:,} MACs"
    return f"{size}, validation {format_percent(before['validation'])}: {effect}"
