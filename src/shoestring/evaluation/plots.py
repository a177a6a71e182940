"""Charts of metrics, as matplotlib axes: methods that metrics inherit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes


class RecallPlots:
    """Charts of metrics per class or label."""

    per_class: Any
    _of_labels = False

    def plot_classes(self, *, axes: Axes | None = None) -> Axes:
        """Draw the recall of each class or label with its 95 % interval; return the matplotlib axes."""
        from shoestring.evaluation.metrics import wilson_interval
        from shoestring.reporting.charts import plot_class_accuracy

        recalls = {entry.name: entry.recall for entry in self.per_class}
        intervals = {
            entry.name: None
            if entry.recall is None
            else wilson_interval(round(entry.recall * entry.images), entry.images)
            for entry in self.per_class
        }
        return plot_class_accuracy(recalls, intervals, labels=self._of_labels, axes=axes)


class ClassPlots(RecallPlots):
    """Charts of metrics of classes."""

    confusion: Any

    def plot_confusion(self, *, axes: Axes | None = None) -> Axes:
        """Draw the confusion matrix; return the matplotlib axes."""
        from shoestring.reporting.charts import plot_confusion

        return plot_confusion(self.confusion, [entry.name for entry in self.per_class], axes=axes)
