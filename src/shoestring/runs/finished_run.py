"""A finished run as an object: its results, its network, and the figures of its report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from shoestring.errors import UserError
from shoestring.escaping import html, html_table
from shoestring.models.model import Model
from shoestring.reporting import charts, pruning_charts
from shoestring.reporting.comparison import Comparison
from shoestring.reporting.markdown import headline, step_name, summary
from shoestring.reporting.multi_label import is_multi_label
from shoestring.reporting.run_data import RunData
from shoestring.runs.comparison import compare_runs
from shoestring.runs.directory import RunDir
from shoestring.runs.finished import read_result
from shoestring.runs.models import final_model
from shoestring.runs.predictions_file import read_any_predictions
from shoestring.runs.report_data import collect

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, eq=False)
class FinishedRun:
    """A finished run, read from its folder; nothing is computed again.

    `result` are the results as in `run.json`. The figures are those of the report: each is drawn into `axes`, or into a
    new figure, and the matplotlib axes are returned.
    """

    path: Path
    result: Mapping[str, Any]

    @classmethod
    def load(cls, folder: str | Path) -> FinishedRun:
        """Read a finished run. Raises `UserError` for any other folder, and if files are corrupted."""
        run = RunDir(Path(folder))
        result = read_result(run)
        loaded = cls(run.path, result)
        with run.checking_results():
            _ = loaded._data, repr(loaded)
        return loaded

    def __repr__(self) -> str:
        return f"FinishedRun({self.path.name}: {headline(dict(self.result))})"

    def _repr_html_(self) -> str:
        return f"<p>{html(self)}</p>{html_table(('', ''), summary(dict(self.result)))}"

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    @cached_property
    def model(self) -> Model:
        """The final network."""
        return final_model(self.path)

    def compare(self, *others: FinishedRun) -> Comparison:
        """Compare this run with others: results, paired tests on the same test images, and what differs."""
        return compare_runs([RunDir(run.path) for run in (self, *others)])

    @cached_property
    def _data(self) -> RunData:
        return collect(RunDir(self.path), self.result, None, read_any_predictions(self.path, self.result))

    def plot_budget(self, *, axes: Axes | None = None) -> Axes:
        """Draw where the time went."""
        budget, ledger = self.result["budget"], self.result["ledger"]
        total = budget["total"] if budget["unit"] == "seconds" else None
        return charts.plot_budget({step_name(name): spent for name, spent in ledger.items()}, total, axes=axes)

    def plot_curves(self, quantity: str = "validation", *, axes: Axes | None = None) -> Axes:
        """Draw the "validation" accuracy or the "loss" over the seconds."""
        if quantity not in ("validation", "loss"):
            raise UserError(f"there are curves of validation and loss, not of {quantity!r}.")
        run, is_loss = self._data, quantity == "loss"
        curves = run.losses if is_loss else {"validation": run.validation}
        title = "Validation accuracy" if not is_loss else "Loss" if len(curves) > 1 else "Training loss"
        options: dict[str, Any] = {"quantity": "loss" if is_loss else "accuracy", "percent": not is_loss}
        return charts.plot_curves(curves, title=title, marks=run.marks, axes=axes, **options)

    def plot_classes(self, *, axes: Axes | None = None) -> Axes:
        """Draw the accuracy of each class, or the recall of each label, with its 95 % interval."""
        recalls = {name: entry["recall"] for name, entry in self.result["per_class"].items()}
        labels = is_multi_label(self.result)
        return charts.plot_class_accuracy(recalls, self._data.intervals, labels=labels, axes=axes)

    def plot_confusion(self, *, axes: Axes | None = None) -> Axes:
        """Draw the confusion matrix. Raises `UserError` for runs without one."""
        if not self._data.cells:
            raise UserError(f"{self.path} has no confusion matrix: it has several labels per image, or no test images.")
        matrix = np.zeros((len(self._data.classes),) * 2, dtype=np.int64)
        for label, predicted, images in self._data.cells:
            matrix[label, predicted] = images
        return charts.plot_confusion(matrix.tolist(), self._data.classes, axes=axes)

    def plot_reliability(self, *, axes: Axes | None = None) -> Axes:
        """Draw the accuracy over the confidence of predictions."""
        return charts.plot_reliability(self._data.reliability, axes=axes)

    def plot_changes(self, *, axes: Axes | None = None) -> Axes:
        """Draw what pruning changed for each class. Raises `UserError` for runs that were not pruned."""
        comparison = self._data.comparison
        if comparison is None:
            raise UserError(f"{self.path} has no comparison of classes before and after pruning.")
        entries = sorted(comparison["per_class"], key=lambda entry: entry["change"])
        return pruning_charts.plot_changes(
            {entry["name"]: (entry["change"], tuple(entry["interval"])) for entry in entries}, axes=axes
        )

    def plot_layers(self, *, axes: Axes | None = None) -> Axes:
        """Draw the output channels of each layer before and after pruning. Raises `UserError` for runs without it."""
        changed = {name: pair for name, pair in self._data.layers.items() if pair[0] != pair[1]}
        if not changed:
            raise UserError(f"{self.path} was not pruned: all layers have the channels that they had.")
        return pruning_charts.plot_layers(changed, axes=axes)
