"""A recipe as a nested mapping, as YAML and as a digest."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

from shoestring.config.recipe import BUDGETS, Recipe


def as_dict(recipe: Recipe) -> dict[str, Any]:
    """Return the recipe as a nested mapping that `resolve` reads back, without unset values; options are inlined."""

    def flat(value: Any) -> Any:
        if not dataclasses.is_dataclass(value) or isinstance(value, type):
            return value
        fields = {f.name: (getattr(value, f.name), "parse" in f.metadata) for f in dataclasses.fields(value)}
        content = {name: _text(entry) if parsed else flat(entry) for name, (entry, parsed) in fields.items()}
        content |= content.pop("options", {})
        return {key: entry for key, entry in content.items() if entry is not None}

    return flat(recipe)


def _text(value: Any) -> Any:
    """Return a parsed value as text; a mapping stays one."""
    return value if value is None or isinstance(value, Mapping) else str(value)


def to_yaml(recipe: Recipe) -> str:
    """Return the recipe as YAML."""
    import yaml

    values = as_dict(recipe)
    printable = json.dumps(values, ensure_ascii=False).isprintable()  # PyYAML loses an unescaped U+0085 (next line)
    return yaml.safe_dump(values, sort_keys=False, allow_unicode=printable)


def without_budget(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested mapping of a recipe without its budget."""
    return {key: value for key, value in content.items() if key not in BUDGETS}


def digest(recipe: Recipe) -> str:
    """Return eight hexadecimal digits that identify the recipe; of an extendable one, independent of the budget."""
    import hashlib

    content = as_dict(recipe)
    text = json.dumps(without_budget(content) if recipe.extendable else content, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
