"""What a reader should learn from a run, in a few sentences."""

from __future__ import annotations

from collections.abc import Iterator

from shoestring.config.units import format_percent, format_seconds
from shoestring.reporting.run_data import RunData

_VERDICTS = (  # by the least number of epochs; the end of a curve says little, as the learning rate falls to zero there
    (50, "Yes, more images would help more than more time"),
    (10, "Nearly, more time would help a little"),
    (0, "No, more time would help"),
)
_RELIABLE = 0.03  # calibration error up to which probabilities are called reliable


def findings(run: RunData) -> list[tuple[str, str]]:
    """Return (question, answer) for the questions that the values of the run answer."""
    return [*_classes(run), *_selection(run), *_training(run), *_pruning(run), *_calibration(run)]


def _classes(run: RunData) -> Iterator[tuple[str, str]]:
    per_class = run.result["per_class"]
    recalls = {name: entry["recall"] for name, entry in per_class.items() if entry["recall"] is not None}
    if len(recalls) > 1:
        weakest = min(recalls, key=recalls.__getitem__)
        strongest = max(recalls, key=recalls.__getitem__)
        text = f"{weakest}: {format_percent(recalls[weakest])} of its images are recognized"
        if interval := run.intervals.get(weakest):
            low, high = map(format_percent, interval)
            text += f" ({low} to {high}, from {per_class[weakest]['images']:,} images)"
        yield "Which class is weakest?", f"{text}. The best is {strongest}, {format_percent(recalls[strongest])}."
    wrong = [(images, label, predicted) for label, predicted, images in run.cells if label != predicted]
    if wrong:
        images, label, predicted = max(wrong)
        names = run.classes
        total = sum(images for images, *_ in wrong)
        text = f"{names[label]} taken for {names[predicted]}: {images:,} of all {total:,} mistakes."
        yield "Which classes are confused most?", text


def _selection(run: RunData) -> Iterator[tuple[str, str]]:
    result = run.result
    if result["select"] in (None, "random", "list"):
        return
    pool = result.get("training_pool")
    of = "" if pool is None else f" of {pool:,} ({format_percent(result['examples'] / pool)})"
    text = f"{result['examples']:,}{of} training images were chosen by {result['select']}."
    baseline = result.get("baseline")
    if baseline is None or baseline["accuracy"] is None or result["accuracy"] is None:
        yield "Did choosing images pay?", f"{text} Not measured: --baseline also trains on as many random images."
        return
    gain = result["accuracy"] - baseline["accuracy"]
    (low, high), (other_low, other_high) = result["interval"], baseline["interval"]
    clear = low > other_high or other_low > high
    verdict = "the intervals do not overlap" if clear else "the intervals overlap, so this may be chance"
    random = f"As many random images reach {format_percent(baseline['accuracy'])}"
    yield "Did choosing images pay?", f"{text} {random}: {100 * gain:+.1f} points; {verdict}."


def _training(run: RunData) -> Iterator[tuple[str, str]]:
    budget, spent = run.result["budget"], format_seconds(run.result["seconds"])
    used = f" {spent} of {format_seconds(budget['total'])} were used." if budget["unit"] == "seconds" else ""
    question, steps = "Was it trained long enough?", sum(part["steps"] for part in run.trainings)
    epochs = sum(part["epochs"] for part in run.trainings)
    if not run.trainings:
        return
    if not steps:
        text = "Only the head was fitted, to features of the pretrained network; with more time, all of it is trained."
        yield question, f"{text}{used}"
        return
    verdict = next(text for least, text in _VERDICTS if epochs >= least)
    yield question, f"{verdict} (rule of thumb): each image was seen {epochs:,.0f} times.{used}"


def _pruning(run: RunData) -> Iterator[tuple[str, str]]:
    before = run.result["before_pruning"]
    if before is None:
        return
    macs, params = run.result["macs"] / before["macs"] - 1, run.result["params"] / before["params"] - 1
    text = f"MACs {100 * macs:+.0f} %, parameters {100 * params:+.0f} %"
    if before["validation"] is not None and run.result["validation"] is not None:
        change = 100 * (run.result["validation"] - before["validation"])
        text += f"; validation accuracy {change:+.1f} points"
        text += (
            " after the cut and its fine-tuning" if before["finished"] else ", most of it from training that went on"
        )
    yield "What did the cut cost?", f"{text}."


def _calibration(run: RunData) -> Iterator[tuple[str, str]]:
    error = run.result["calibration_error"]
    if error is None:
        return
    verdict = "Yes" if error <= _RELIABLE else "Only roughly"
    yield "Can its probabilities be trusted?", f"{verdict}: on average they are {100 * error:.1f} points off."
