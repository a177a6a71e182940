"""Image classifiers on a budget of examples, minutes and megabytes.

Public names are loaded on first use: importing shoestring imports neither torch nor numpy.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "Budget": "shoestring.budget",
    "BudgetTooSmall": "shoestring.errors",
    "Classifier": "shoestring.estimator",
    "Dataset": "shoestring.data",
    "FinishedRun": "shoestring.runs.finished_run",
    "Images": "shoestring.data",
    "Metrics": "shoestring.evaluation.metrics",
    "Model": "shoestring.models.model",
    "MultiLabelMetrics": "shoestring.evaluation.multi_label",
    "Subset": "shoestring.selection",
    "UserError": "shoestring.errors",
    "evaluate": "shoestring.api",
    "export": "shoestring.runs.export",
    "load": "shoestring.data",
    "load_unlabeled": "shoestring.data",
    "predict": "shoestring.runs.prediction",
    "prune": "shoestring.api",
    "select": "shoestring.api",
    "serve": "shoestring.serving.serve",
    "sweep": "shoestring.experiments.api",
    "tickets": "shoestring.api",
    "train": "shoestring.api",
}

__all__ = [
    "Budget",
    "BudgetTooSmall",
    "Classifier",
    "Dataset",
    "FinishedRun",
    "Images",
    "Metrics",
    "Model",
    "MultiLabelMetrics",
    "Subset",
    "UserError",
    "evaluate",
    "export",
    "load",
    "load_unlabeled",
    "predict",
    "prune",
    "select",
    "serve",
    "sweep",
    "tickets",
    "train",
]

if TYPE_CHECKING:
    from shoestring.api import evaluate, prune, select, tickets, train
    from shoestring.budget import Budget
    from shoestring.data import Dataset, Images, load, load_unlabeled
    from shoestring.errors import BudgetTooSmall, UserError
    from shoestring.estimator import Classifier
    from shoestring.evaluation.metrics import Metrics
    from shoestring.evaluation.multi_label import MultiLabelMetrics
    from shoestring.experiments.api import sweep
    from shoestring.models.model import Model
    from shoestring.runs.export import export
    from shoestring.runs.finished_run import FinishedRun
    from shoestring.runs.prediction import predict
    from shoestring.selection import Subset
    from shoestring.serving.serve import serve


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'shoestring' has no attribute '{name}'")
    value = getattr(importlib.import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
