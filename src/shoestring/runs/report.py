"""Write the reports of a finished run: report.md, the page index.html, and the model card README.md."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from shoestring.data import Dataset, Images, load
from shoestring.errors import UserError
from shoestring.evaluation.metrics import wilson_interval
from shoestring.evaluation.reliability import reliability_bins
from shoestring.models.description import TENSORS_FILE, model_folder
from shoestring.models.model import Model
from shoestring.reporting.card import model_card
from shoestring.reporting.html import run_page
from shoestring.reporting.multi_label import is_multi_label
from shoestring.reporting.pictures import Gallery
from shoestring.reporting.run_data import RunData
from shoestring.runs.directory import RunDir
from shoestring.runs.gallery import Left, Sources, indices_of, make_gallery
from shoestring.runs.inputs import check_same_images
from shoestring.runs.loading import evaluated, load_arguments
from shoestring.runs.predictions_file import TestPredictions, read_predictions
from shoestring.runs.session import Run
from shoestring.runs.validate import read_recipe
from shoestring.runtime.files import read_json, write_text
from shoestring.selection import Subset
from shoestring.selection.subset_files import load_subset

PAGE, CARD = Path("report") / "index.html", Path("report") / "README.md"
CHARTS_SECONDS = 2.0  # for importing matplotlib and drawing all charts, on an idle machine
_CHART_SECONDS, _IMPORT_SECONDS = 0.4, 1.0
_PAGE_SECONDS = 0.3  # a page without charts


@dataclass(frozen=True)
class TimeLimit:
    """The seconds that are `left` for the report, and how much slower than idle the machine is."""

    left: Left = lambda: math.inf
    slowdown: float = 1.0

    @property
    def allows_page(self) -> bool:
        """Whether there is time for a page without charts."""
        return self.left() > self.slowdown * _PAGE_SECONDS

    def allows_chart(self) -> bool:
        """Whether there is time for another chart."""
        loading = 0.0 if "matplotlib.figure" in sys.modules else _IMPORT_SECONDS
        return self.left() > self.slowdown * (_CHART_SECONDS + loading)

    def beside_charts(self) -> float:
        """Seconds left for pictures."""
        return self.left() - self.slowdown * CHARTS_SECONDS


def write_page(
    folder: RunDir,
    result: Mapping[str, Any],
    sources: Sources | None,
    *,
    missing: str = "",
    limit: TimeLimit | None = None,
) -> bool:
    """Write the page and the model card of a run; return whether they were written.

    They are not if there is no time, or if images have several labels, which the page does not show. Without `sources`
    the page has no pictures, and `missing` says why. Raises `UserError` for corrupted files.
    """
    limit = limit or TimeLimit()
    if is_multi_label(result) or not limit.allows_page:
        return False
    gallery = Gallery.empty()
    predictions = read_predictions(folder.path, tuple(result["per_class"]))
    if sources is not None:
        seconds = result["latency_batch_ms"] or result["latency_ms"]
        gallery = make_gallery(sources, predictions, left=limit.beside_charts, seconds_per_pass=seconds / 1000)
    run = collect(folder, result, gallery, predictions, missing=missing)
    folder.check_exists()
    write_text(folder / str(CARD), model_card(run))
    write_text(folder / str(PAGE), run_page(run, has_time=limit.allows_chart))
    return True


def write_in_budget(run: Run, result: dict[str, Any], sources: Sources, *, limited: bool = True) -> None:
    """Write the page and the model card of a run, and add their time to its results.

    If it is `limited` and the budget is a time, they take at most what remains of it. Nothing is written if the recipe
    wants no report.
    """
    if run.recipe.report is False:
        return
    run.folder.check_exists()
    budget, limit = run.budget, TimeLimit()
    if limited and budget.unit == "seconds":
        limit = TimeLimit(partial(budget.remaining_for, "report"), budget.slowdown)
    with budget.track("report"):
        written = write_page(run.folder, result, sources, limit=limit)
    if not written and not is_multi_label(result):
        path = run.folder.path
        run.context.log(f"no time for {path / PAGE}: `shoestring report {path}` writes it")
    seconds = budget.ledger["report"]
    result["seconds"] = round(result["seconds"] + seconds, 3)
    result["ledger"]["report"] = round(seconds, 3)


def collect(
    folder: RunDir,
    result: Mapping[str, Any],
    gallery: Gallery,
    predictions: TestPredictions | None = None,
    *,
    missing: str = "",
) -> RunData:
    """Read what the report of a run is made from."""
    content, metrics, recipe = folder.run, folder / "evaluate" / "metrics.json", folder / "recipe.yaml"
    bins = reliability_bins(predictions.confidence, predictions.correct) if predictions else ()
    return RunData(
        name=folder.path.name,
        data_name=content.get("data", {}).get("name", "unknown data"),
        result=result,
        trainings=[content[name] for name in ("training", "recovery") if content.get(name)],
        plan=content.get("plan"),
        environment=content.get("surroundings", {}),
        history=folder.history(),
        recipe=recipe.read_text(encoding="utf-8") if recipe.exists() else "",
        cells=[tuple(cell) for cell in read_json(metrics)["confusion"]] if predictions and metrics.exists() else [],
        intervals={name: _interval(entry) for name, entry in result["per_class"].items()},
        reliability=bins,
        layers=_layers(folder, content),
        gallery=gallery,
        left_out=[missing] if missing else [],
    )


def _interval(entry: Mapping[str, Any]) -> tuple[float, float] | None:
    if entry["recall"] is None:
        return None
    return wilson_interval(round(entry["recall"] * entry["images"]), entry["images"])


def _layers(folder: RunDir, content: Mapping[str, Any]) -> dict[str, tuple[int, int]]:
    """Output channels of each layer before and after pruning; empty for a network that is not pruned."""
    start = content["recipe"].get("start")
    before = folder / "train" if start is None else model_folder(Path(start))
    files = [path / TENSORS_FILE for path in (before, folder / "prune") if path is not None]
    if len(files) < 2 or not all(file.exists() for file in files):
        return {}
    first, last = map(_output_channels, files)
    return {name: (count, last[name]) for name, count in first.items() if name in last}


def _output_channels(file: Path) -> dict[str, int]:
    """Length of the first axis of each weight of at least two axes, by the name of its layer."""
    from safetensors import safe_open

    with safe_open(file, "numpy") as tensors:
        shapes = {name: tensors.get_slice(name).get_shape() for name in tensors.keys()}  # noqa: SIM118
    return {name.removesuffix(".weight"): shape[0] for name, shape in shapes.items() if len(shape) > 1}


def sources_of(data: Dataset, images: Images, subset: Subset | None, model: Model | None) -> Sources:
    """Return what the pictures of a run are made from: its data, training images, selection and final model."""
    chosen = None if len(images) == len(data.train) else indices_of(data.train, images)
    return Sources(
        data.train, chosen, data.test, model, ranked=subset is not None and subset.method not in ("list", "random")
    )


def load_sources(folder: RunDir, *, progress: Callable[[int, int], None]) -> tuple[Sources | None, str]:
    """Load the images and the model of a finished run; without them, return why, for the reader of the report."""
    recipe = read_recipe(folder)
    if recipe is None:
        return None, "No pictures are shown, as the run does not record its data."
    try:
        data = evaluated(recipe, load(**load_arguments(recipe, folder), progress=progress))
        check_same_images(folder, data.train)
        subset = _subset(folder, recipe.select.subset, data.train)
    except (UserError, OSError) as error:
        return None, f"No pictures are shown, as the images cannot be loaded: {error}"
    images = data.train if subset is None else data.train[subset]
    location = model_folder(folder.path)
    return sources_of(data, images, subset, None if location is None else Model.load(location)), ""


def _subset(folder: RunDir, given: str | None, images: Images) -> Subset | None:
    own = folder / "select" / "subset.json"
    if given is not None:
        return load_subset(given, images)
    return Subset.load(own) if own.exists() else None
