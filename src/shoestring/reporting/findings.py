"""What a reader should learn from a run, in a few sentences."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from shoestring.config.units import format_interval, format_percent, format_seconds
from shoestring.reporting.markdown import a_single_image, step_name
from shoestring.reporting.multi_label import is_multi_label
from shoestring.reporting.run_data import RunData

_VERDICTS = (  # by the least number of epochs; the end of a curve says little, as the learning rate falls to zero there
    (50, "Yes, more images would help more than more time"),
    (10, "Nearly, more time would help a little"),
    (0, "No, more time would help"),
)
_SIGNIFICANT = 0.05  # p-value below which a difference is called more than chance
_STEPS = 4  # that took longest, which are named
_RELIABLE = 0.03  # calibration error up to which probabilities are called reliable


def findings(run: RunData) -> list[tuple[str, str]]:
    """Return (question, answer) for the questions that the values of the run answer."""
    of_what = _labels if is_multi_label(run.result) else _classes
    parts = (of_what, _certainty, _selection, _training, _time, _pruning, _calibration, _images)
    return [finding for part in parts for finding in part(run)]


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
        yield "Which two classes are confused most?", _confused(wrong, run.classes)


def _confused(wrong: Sequence[tuple[int, int, int]], names: Sequence[str]) -> str:
    """Describe the two classes with the most confusions, in both directions, of (images, class, predicted class)."""
    pairs: dict[tuple[int, int], int] = {}
    for images, label, predicted in wrong:
        pair = (min(label, predicted), max(label, predicted))
        pairs[pair] = pairs.get(pair, 0) + images
    first, second = pair = max(pairs, key=pairs.__getitem__)
    inside = sorted((one for one in wrong if set(one[1:]) == set(pair)), reverse=True)
    ways = ", ".join(
        f"{images:,} image{'s' * (images != 1)} of {names[label]} taken for {names[predicted]}"
        for images, label, predicted in inside
    )
    total = sum(images for images, *_ in wrong)
    return f"{names[first]} and {names[second]}: {ways}. That is {pairs[pair]:,} of all {total:,} mistakes."


def _certainty(run: RunData) -> Iterator[tuple[str, str]]:
    result = run.result
    if not result["interval"]:
        return
    what = "fraction of images whose labels are all right" if is_multi_label(result) else "accuracy"
    yield (
        "How sure is the accuracy?",
        f"With 95 % confidence, the true {what} is from {format_interval(result['interval'])}, as it was measured on "
        f"{result['images']:,} images; on four times as many, that range would be half as wide.",
    )


def _labels(run: RunData) -> Iterator[tuple[str, str]]:
    per_label = run.result["per_class"]
    found = {name: value for name, entry in per_label.items() if (value := entry["average_precision"]) is not None}
    if len(found) > 1:
        weakest, strongest = min(found, key=found.__getitem__), max(found, key=found.__getitem__)
        text = f"{weakest}, with an average precision of {format_percent(found[weakest])}"
        text += f", from {per_label[weakest]['images']:,} images."
        yield "Which label is weakest?", f"{text} The best is {strongest}, {format_percent(found[strongest])}."
    if any(sum(counts) for counts in run.errors.values()):
        missed = max(run.errors, key=lambda name: run.errors[name][0])
        added = max(run.errors, key=lambda name: run.errors[name][1])
        text = f"{missed} is missed most often, on {run.errors[missed][0]:,} of {per_label[missed]['images']:,} images"
        text += f"; {added} is most often predicted without being there, on {run.errors[added][1]:,}."
        yield "Which labels are wrong most often?", text


def _selection(run: RunData) -> Iterator[tuple[str, str]]:
    result = run.result
    if result["select"] in (None, "list"):
        return
    pool = result.get("training_pool")
    of = "" if pool is None else f" of {pool:,} ({format_percent(result['examples'] / pool)})"
    if result["select"] == "random":
        yield "Did choosing images pay?", f"They were not chosen: {result['examples']:,}{of} were drawn at random."
        return
    text = f"{result['examples']:,}{of} training images were chosen by {result['select']}."
    baseline = result.get("baseline")
    if baseline is None or baseline["accuracy"] is None or result["accuracy"] is None:
        yield "Did choosing images pay?", f"{text} Not measured: --baseline also trains on as many random images."
        return
    gain = result["accuracy"] - baseline["accuracy"]
    random = f"As many random images reach {format_percent(baseline['accuracy'])}"
    yield (
        "Did choosing images pay?",
        f"{text} {random}: {100 * gain:+.1f} points{_chance(result['interval'], baseline)}.",
    )


def _chance(interval: tuple[float, float], baseline: Mapping[str, Any]) -> str:
    """Say whether the difference to the baseline may be chance; of an earlier version, by the intervals alone."""
    if "p_value" in baseline:
        low, high = (100 * bound for bound in baseline["difference_interval"])
        verdict = "more than chance explains" if baseline["p_value"] < _SIGNIFICANT else "this may be chance"
        return f" (95 % interval {low:+.1f} to {high:+.1f}); {verdict}"
    (low, high), (other_low, other_high) = interval, baseline["interval"]
    clear = low > other_high or other_low > high
    return "; the intervals do not overlap" if clear else "; the intervals overlap, so this may be chance"


def _training(run: RunData) -> Iterator[tuple[str, str]]:
    question, steps = "Was it trained long enough?", sum(part["steps"] for part in run.trainings)
    epochs = sum(part["epochs"] for part in run.trainings)
    if not run.trainings or run.unfinished:
        return
    if not steps:
        text = "Only the head was fitted, to features of the pretrained network; with more time, all of it is trained."
        yield question, text
        return
    verdict = next(text for least, text in _VERDICTS if epochs >= least)
    yield question, f"{verdict} (rule of thumb): each image was seen {epochs:,.0f} times."


def _time(run: RunData) -> Iterator[tuple[str, str]]:
    budget, seconds = run.result["budget"], run.result["seconds"]
    steps = sorted(run.result["ledger"].items(), key=lambda item: -item[1])[:_STEPS]
    rest = seconds - sum(spent for _, spent in steps)
    parts = [f"{step_name(name)} {format_seconds(spent)}" for name, spent in steps]
    if not steps:
        return
    others = "the step that was running" if run.unfinished else "the rest"
    parts += [f"{others} {format_seconds(rest)}"] if rest > 0.05 else []
    whole = f"{format_seconds(seconds)} of {format_seconds(budget['total'])}" if budget["unit"] == "seconds" else ""
    yield "Where did the time go?", f"{whole or format_seconds(seconds)}: {', '.join(parts)}."


def _pruning(run: RunData) -> Iterator[tuple[str, str]]:
    before = run.result["before_pruning"]
    if before is None:
        return
    macs, params = run.result["macs"] / before["macs"] - 1, run.result["params"] / before["params"] - 1
    text = f"MACs {100 * macs:+.0f} %, parameters {100 * params:+.0f} %"
    if before["validation"] is not None and run.result["validation"] is not None:
        change = 100 * (run.result["validation"] - before["validation"])
        text += f"; validation accuracy {change:+.1f} points"
        text += " after the cut and its fine-tuning" if before["finished"] else ", after training that went on"
        if "interval" in before:
            low, high = (100 * bound for bound in before["interval"])
            text += f" (95 % interval {low:+.1f} to {high:+.1f})"
    points = {} if run.comparison is None else run.comparison.get("points", {})
    if "latency_ms" in points.get("before", {}) and "latency_ms" in points.get("after", {}):
        slow, fast = points["before"]["latency_ms"], points["after"]["latency_ms"]
        text += f"; {a_single_image(points['after'])} took {slow:.2f} ms before, and {fast:.2f} ms after the cut"
    yield "What did the cut cost?", f"{text}."


def _calibration(run: RunData) -> Iterator[tuple[str, str]]:
    error = run.result["calibration_error"]
    if error is None:
        return
    verdict = "Yes" if error <= _RELIABLE else "Only roughly"
    yield "Can its probabilities be trusted?", f"{verdict}: on average they are {100 * error:.1f} points off."


def _images(run: RunData) -> Iterator[tuple[str, str]]:
    gallery = run.gallery
    if gallery.mistakes and not is_multi_label(run.result):
        count = sum(bool(picture.note) for picture in gallery.mistakes)
        which = f"{count} of the {len(gallery.mistakes)} most confident mistakes"
        text = f"Perhaps: {which} may be wrong labels; look at them." if count else f"None {which[2:]} looks like it."
        yield "Are there wrong labels?", text
    if "duplicates" in gallery.notes:
        yield "Is the test fair?", f"{'Not entirely' if gallery.duplicates else 'Yes'}: {gallery.notes['duplicates']}"
