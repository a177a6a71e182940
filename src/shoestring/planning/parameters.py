"""The parameters of the estimator as a recipe and a budget."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from shoestring.budget import DEFAULT_EPOCHS, Budget
from shoestring.config.layers import CALL, merge
from shoestring.config.recipe import Recipe, Train
from shoestring.config.size_sections import TARGETS
from shoestring.errors import UserError


def recipe_of(parameters: dict[str, Any]) -> Recipe:
    """Return the parameters of `Classifier` as a recipe. Raises `UserError` if one of them is invalid."""
    names = {
        "select": {"method": "select", "examples": "examples"},
        "train": {field.name: field.name for field in fields(Train) if field.name != "class_weights"},
        "grow": {"method": "grow", "stages": "stages"},
        "prune": {
            **{name: name for name in (*TARGETS, "compensate", "distil")},
            "method": "prune",
            "scope": "prune_scope",
        },
    }
    sections = {
        section: {key: parameters[name] for key, name in keys.items() if parameters[name] is not None}
        for section, keys in names.items()
    }
    return merge((CALL, sections))[0]


def budget_of(parameters: dict[str, Any], steps: tuple[str, ...]) -> Budget:
    """Return the budget of `Classifier`, divided among these steps. Raises `UserError` for more than one budget."""
    budgets = {name: parameters[name] for name in ("time", "epochs", "flops") if parameters[name] is not None}
    if len(budgets) > 1:
        raise UserError(f"set only one budget, not {' and '.join(budgets)}.")
    return Budget(**(budgets or {"epochs": DEFAULT_EPOCHS}), steps=steps)
