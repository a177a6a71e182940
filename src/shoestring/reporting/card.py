"""README.md of a model in the form of the Hugging Face Hub: metadata with a `model-index`, then text for readers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from shoestring.config.units import format_percent, format_seconds
from shoestring.escaping import markdown, printable
from shoestring.reporting.answers import answers
from shoestring.reporting.findings import findings
from shoestring.reporting.markdown import headline, summary, table
from shoestring.reporting.multi_label import is_multi_label
from shoestring.reporting.run_data import RunData

_WEAKEST = 3  # classes named as limits
_MAX_CLASSES = 50  # that are listed
_METRICS: dict[bool, dict[str, tuple[str, str]]] = {  # by whether images have several labels: type and name on the Hub
    False: {
        "accuracy": ("accuracy", "Accuracy"),
        "balanced_accuracy": ("balanced_accuracy", "Balanced accuracy"),
        "macro_f1": ("f1", "Macro F1"),
    },
    True: {
        "macro_average_precision": ("mean_average_precision", "Mean average precision"),
        "macro_f1": ("f1", "Macro F1"),
        "accuracy": ("exact_match", "All labels right"),
    },
}


def model_card(run: RunData) -> str:
    """Return the model card of a run."""
    import yaml

    metadata = yaml.safe_dump(_metadata(run), sort_keys=False, allow_unicode=False)
    return f"---\n{metadata}---\n\n" + "\n\n".join(_text(run)) + "\n"


def _metadata(run: RunData) -> dict[str, Any]:
    """The metadata of the Hub: https://huggingface.co/docs/hub/model-cards."""
    result, data = run.result, run.data_name
    values = [
        {"type": kind, "value": round(result[name], 5), "name": title}
        for name, (kind, title) in _METRICS[is_multi_label(result)].items()
        if result.get(name) is not None
    ]
    index = {
        "name": printable(run.name),
        "results": [
            {
                "task": {"type": "image-classification", "name": "Image classification"},
                "dataset": {"type": data, "name": data, "split": printable(result["split"])},
                "metrics": values,
            }
        ],
    }
    return {
        "library_name": "shoestring",
        "pipeline_tag": "image-classification",
        "tags": ["image-classification", "shoestring", printable(result["model"])],
        "metrics": sorted({value["type"] for value in values}) or ["accuracy"],
        **({"model-index": [index]} if values else {}),
    }


def _text(run: RunData) -> Iterator[str]:
    result, names = run.result, run.classes
    yield f"# {markdown(run.name)}"
    yield f"{markdown(headline(dict(result)))}."
    for warning in result.get("warnings", ()):
        yield f"**Warning:** {markdown(warning)}."
    yield "## Intended use"
    listed = ", ".join(markdown(name) for name in names[:_MAX_CLASSES])
    more = f" and {len(names) - _MAX_CLASSES:,} more" if len(names) > _MAX_CLASSES else ""
    if is_multi_label(result):
        data = markdown(run.data_name)
        yield f"Labels for images like those of {data}, any number of {len(names):,}: {listed}{more}."
    else:
        yield (
            f"Classification of images like those of {markdown(run.data_name)} into one of {len(names):,} classes: "
            f"{listed}{more}. An image of anything else is also given one of these classes."
        )
    yield '```python\nfrom shoestring import Model\n\nmodel = Model.load("FOLDER")\nmodel.predict(["photo.jpg"])\n```'
    yield "## Training data"
    yield _data(run)
    yield "## Results"
    yield table(("", ""), summary(dict(result)))
    yield "\n".join(f"- **{markdown(question)}** {markdown(answer)}" for question, answer in findings(run))
    yield "## Limits"
    yield "\n".join(f"- {limit}" for limit in _limits(run))
    if run.plan:
        yield "## How it was trained"
        yield table(("answer", "value", "reason"), answers(run.plan))


def _data(run: RunData) -> str:
    result = run.result
    chosen = f", selected by {markdown(result['select'])}" if result["select"] else ""
    pool = result.get("training_pool")
    of = f" of {pool:,}" if pool is not None and pool != result["examples"] else ""
    skipped = f" {result['skipped']:,} unreadable images were skipped." if result.get("skipped") else ""
    return (
        f"{result['examples']:,}{of} training images of {markdown(run.data_name)}{chosen}; training took "
        f"{format_seconds(result['seconds'])} in all.{skipped}"
    )


def _limits(run: RunData) -> Iterator[str]:
    """What the model is bad at, and what it was never shown."""
    per_class: Mapping[str, Any] = run.result["per_class"]
    recalls = {name: entry["recall"] for name, entry in per_class.items() if entry["recall"] is not None}
    if len(recalls) > _WEAKEST:
        weakest = sorted(recalls, key=recalls.__getitem__)[:_WEAKEST]
        texts = ", ".join(f"{markdown(name)} ({format_percent(recalls[name])})" for name in weakest)
        what = "labels" if is_multi_label(run.result) else "classes"
        yield f"Weakest {what}, by the fraction of their images that is recognized: {texts}."
    if untested := [name for name in per_class if name not in recalls]:
        yield f"Not tested, for lack of test images: {', '.join(map(markdown, untested[:_MAX_CLASSES]))}."
    side = (run.plan or {}).get("resolution")
    if side:
        yield f"It sees images at {side} x {side} pixels: smaller details are lost."
    yield (
        "It was never shown images of other sources, classes or conditions than those of its training data; accuracy "
        "on them is unknown."
    )
