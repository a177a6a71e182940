"""Layers of settings merged into a recipe: flags take precedence over the recipe file, and the file over defaults."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Mapping
from typing import Any

from shoestring.config.recipe import SECTIONS, Recipe, SweepRecipe, TicketsRecipe
from shoestring.config.values import MAPPINGS, check_range, coerce
from shoestring.errors import UserError, quoted, unknown
from shoestring.suggestions import nearest

CALL = "the call"  # name of the layer of a function's arguments, which messages name without their section
FLAGS = "flags"  # name of the layer of flags

Layer = tuple[str, Mapping[str, Any]]

# Former names of settings, and of their values, which recipes, run folders and flags may still hold.
FORMER_NAMES = {"optimiser": "optimizer", "averaging": "ema", "views": "tta", "unlabelled": "unlabeled"}
FORMER_OPTIONS = {"neighbours": "neighbors"}  # of selection methods
_FORMER_VALUES = {"views": {"one": "none"}}


def merge(*layers: Layer) -> tuple[Recipe, dict[str, str]]:
    """Merge named layers, of which later ones take precedence; return the recipe and the origin of every value.

    Each layer is nested like a recipe file; if one has a section "tickets", the recipe is a `TicketsRecipe`, and with
    "sweep" a `SweepRecipe`. A finished selection (select.subset) replaces the selection settings of earlier layers.
    Raises `UserError` for unknown keys and values of the wrong type.
    """
    origin: dict[str, str] = {}
    layers = _without_replaced_selection(layers)
    kinds = {"tickets": TicketsRecipe, "sweep": SweepRecipe}
    found = (kind for name, kind in kinds.items() if any(name in content for _, content in layers))
    kind = next(found, Recipe)
    recipe = _build(kind, layers, "", origin)
    return recipe, origin


def _without_replaced_selection(layers: tuple[Layer, ...]) -> tuple[Layer, ...]:
    """Return the layers without the selection settings of those before the last one that names a finished selection."""
    selections = [content.get("select") for _, content in layers]
    finished = [isinstance(one, Mapping) and one.get("subset") is not None for one in selections]
    last = max((number for number, is_finished in enumerate(finished) if is_finished), default=0)
    earlier = ((layer, {key: content[key] for key in content if key != "select"}) for layer, content in layers[:last])
    return (*earlier, *layers[last:])


def _build(cls: type, layers: tuple[Layer, ...], prefix: str, origin: dict[str, str]) -> Any:
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls)}
    values: dict[str, Any] = {}
    for layer, content in layers:
        for key, value in (_current(str(key), value, fields) for key, value in content.items()):
            shown = _shown(key, prefix, layer)
            if key not in fields:
                if "options" not in fields:
                    raise _unknown_key(key, list(fields), prefix, layer)
                values.setdefault("options", {})[key] = value  # checked against the method's options later
                origin[prefix + key] = layer
            elif key not in SECTIONS:
                values[key] = _value(value, hints[key], fields[key].metadata, shown)
                origin[prefix + key] = layer
            elif value is not None and not isinstance(value, Mapping):  # None: all lines of a section commented out
                raise UserError(f"'{key}' in {layer} must be a mapping such as {key}: {{...}}, not {quoted(value)}.")
    for key, section in SECTIONS.items():
        if key in fields:
            inner = tuple((layer, content.get(key) or {}) for layer, content in layers)
            values[key] = _build(section, inner, f"{key}.", origin)
    for key in fields:
        if key not in SECTIONS and key != "options":
            origin.setdefault(prefix + key, "default")
    if "options" in values:
        values["options"] = _current_options(values["options"])
    return cls(**values)


def _shown(key: str, prefix: str, layer: str) -> str:
    """Return what messages call a setting in this layer."""
    if layer == FLAGS:
        return f"--{key.replace('_', '-')}"
    return key if layer == CALL else prefix + key


def _value(value: Any, kind: Any, metadata: Mapping[str, Any], shown: str) -> Any:
    """Return a value of the type of its field; one to parse as text, as a mapping where it may be one, or parsed."""
    if "parse" not in metadata:
        return check_range(coerce(value, kind, shown), shown, **metadata.get("limits", {}))
    kinds = typing.get_args(kind) or (kind,)
    parsed = tuple(inner for inner in kinds if typing.get_origin(inner) is None and inner is not str)
    if isinstance(value, parsed):  # or None, where it is allowed
        return value
    if isinstance(value, Mapping) and any(typing.get_origin(inner) in MAPPINGS for inner in kinds):
        return dict(value)
    return coerce(value, str, shown)


def _current(key: str, value: Any, fields: Mapping[str, Any]) -> tuple[str, Any]:
    """Return the present name and value of a setting that may have its former ones."""
    if key in fields or FORMER_NAMES.get(key) not in fields:
        return key, value
    return FORMER_NAMES[key], _FORMER_VALUES.get(key, {}).get(value, value) if isinstance(value, str) else value


def _current_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a method with their present names."""
    return {FORMER_OPTIONS.get(key, key): value for key, value in options.items()}


def with_current_names(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the nested mapping of a recipe with the present names of its settings and options."""
    fields = {field.name: field for field in dataclasses.fields(Recipe)}
    current = dict(_current(str(key), value, fields) for key, value in content.items())
    for name, section in SECTIONS.items():
        values = current.get(name)
        if not isinstance(values, Mapping):
            continue
        fields = {field.name: field for field in dataclasses.fields(section)}
        current[name] = values = dict(_current(str(key), value, fields) for key, value in values.items())
        if isinstance(values.get("options"), Mapping):
            values["options"] = _current_options(values["options"])
    return current


def _unknown_key(key: str, known: list[str], prefix: str, layer: str) -> UserError:
    if layer == CALL:
        return unknown("argument", key, known)
    near = nearest(key, known)
    guess = None if near is None else prefix + near.replace(" ", ": ")
    return unknown(f"setting in {layer}", f"{prefix}{key}", [prefix + name for name in known], near=guess)
