"""Image classifiers on a budget of examples, minutes and megabytes.

The public names are loaded when they are first used: importing shoestring imports neither torch nor numpy.
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

from shoestring.names import CalledModule

__version__ = "0.1.0"

_PUBLIC = {
    "Budget": "shoestring.budget",
    "BudgetTooSmall": "shoestring.errors",
    "Classifier": "shoestring.estimator",
    "Dataset": "shoestring.data",
    "Images": "shoestring.data",
    "Metrics": "shoestring.evaluate.metrics",
    "Model": "shoestring.models.model",
    "Subset": "shoestring.select",
    "UserError": "shoestring.errors",
    "load": "shoestring.data",
    "load_unlabelled": "shoestring.data",
}

__all__ = [
    "Budget",
    "BudgetTooSmall",
    "Classifier",
    "Dataset",
    "Images",
    "Metrics",
    "Model",
    "Subset",
    "UserError",
    "evaluate",
    "load",
    "load_unlabelled",
    "prune",
    "select",
    "train",
]

if TYPE_CHECKING:
    from shoestring.budget import Budget
    from shoestring.data import Dataset, Images, load, load_unlabelled
    from shoestring.errors import BudgetTooSmall, UserError
    from shoestring.estimator import Classifier
    from shoestring.evaluate.metrics import Metrics
    from shoestring.models.model import Model
    from shoestring.select import Subset
    from shoestring.steps import evaluate, prune, select, train


# Functions that share their name with a package: the package itself is called, so that both can be had in any order.
_CALLED = ("evaluate", "prune", "select", "train")


class _Package(types.ModuleType):
    """Loads the public names when they are first used."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name in _CALLED and isinstance(value, types.ModuleType):
            value.__class__ = CalledModule
        super().__setattr__(name, value)

    def __getattr__(self, name: str) -> Any:
        if name in _CALLED:
            return importlib.import_module(f"shoestring.{name}")  # which sets the attribute
        if name not in _PUBLIC:
            raise AttributeError(f"module 'shoestring' has no attribute '{name}'")
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
        setattr(self, name, value)
        return value

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *__all__]


sys.modules[__name__].__class__ = _Package
