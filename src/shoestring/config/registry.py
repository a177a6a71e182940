"""Registry of methods: built-in files, and entry points of other packages.

A built-in method is a public top-level function in a file of the folder of its kind (`FOLDERS`), whose first argument
has the name in `PROTOCOLS`; so adding a method is adding a file. The names are listed by parsing the files, which are
imported only when a method is used.
"""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import typing
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import shoestring
from shoestring.config.values import coerce
from shoestring.errors import no_option, unknown
from shoestring.suggestions import aliases, nearest, similarity

# kind -> the folder of its built-in methods, one file each
FOLDERS = {
    "select": "selection/methods",
    "grow": "growth/schedules",
    "prune": "pruning/criteria",
    "models": "models/architectures",
    "data": "data/sources",
}
# kind -> name of the first argument of its methods
PROTOCOLS = {"select": "pool", "grow": "spent", "prune": "model", "models": "classes", "data": "where"}
# kind -> keyword arguments that the caller provides, if the method declares them; the others are the user's options
_PROVIDED = {"select": ("rng", "already", "counts"), "prune": ("labels",), "models": ("channels",), "data": ("split",)}
_NOUNS = {
    "select": "selection method",
    "grow": "growth schedule",
    "prune": "pruning method",
    "models": "model",
    "data": "source",
}


@dataclass(frozen=True)
class Option:
    """A keyword argument of a method, from its signature."""

    name: str
    type: Any
    default: Any
    choices: tuple[Any, ...] = ()


def noun(kind: str) -> str:
    """Return what messages call a method of this kind."""
    return _NOUNS[kind]


@functools.cache
def _built_in(kind: str) -> dict[str, tuple[str, str]]:
    """Return name -> (module, first docstring paragraph), by parsing the files of the kind."""
    methods: dict[str, tuple[str, str]] = {}
    folder = FOLDERS[kind]
    for file in sorted((Path(shoestring.__file__).parent / folder).glob("[!_]*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            arguments = [*node.args.posonlyargs, *node.args.args]
            if arguments and arguments[0].arg == PROTOCOLS[kind]:
                summary = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
                methods[node.name] = (f"shoestring.{folder.replace('/', '.')}.{file.stem}", summary)
    return methods


def _plugins(kind: str) -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=f"shoestring.{kind}")}


def names(kind: str) -> list[str]:
    """Return the names of all methods of a kind, sorted."""
    return sorted({*_built_in(kind), *_plugins(kind)})


def summary(kind: str, name: str) -> str:
    """Return the first docstring paragraph of a method; built-in methods are not imported."""
    if name in _built_in(kind):
        return _built_in(kind)[name][1]
    return (inspect.getdoc(find(kind, name)) or "").split("\n\n")[0].replace("\n", " ")


def description(kind: str, name: str) -> str:
    """Return the whole docstring of a method, which is imported."""
    return inspect.getdoc(find(kind, name)) or ""


def find(kind: str, name: str) -> Callable[..., Any]:
    """Return the method of a name. Raises `UserError` with the nearest name if there is none."""
    if name in _built_in(kind):
        return getattr(importlib.import_module(_built_in(kind)[name][0]), name)
    plugins = _plugins(kind)
    if name not in plugins:
        near = _nearest_model(name) if kind == "models" else None
        raise unknown(noun(kind), name, names(kind), hint=f"(`shoestring list {kind}`)", near=near)
    return plugins[name].load()


def _nearest_model(name: str) -> str | None:
    """Return the model that is probably meant, ours or timm's: `timm:resnet50` for ResNet-50."""
    import timm

    candidates = {model: f"timm:{model}" for model in timm.list_models()}
    candidates |= {alias: alias for alias in aliases(name) if alias.startswith("timm:")}
    candidates |= {model: model for model in names("models")}
    near, ours = nearest(name, candidates), nearest(name, names("models"))
    if near is not None and ours is not None and not aliases(name) and similarity(name, ours) >= similarity(name, near):
        return ours
    return None if near is None else candidates[near]


def options(kind: str, name: str) -> dict[str, Option]:
    """Return the options of a method: its keyword-only arguments, except those that the caller provides."""
    method = find(kind, name)
    hints = typing.get_type_hints(method)
    options = {}
    for parameter in inspect.signature(method).parameters.values():
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.name in _PROVIDED.get(kind, ()):
            continue
        annotation = hints.get(parameter.name, str)
        choices = typing.get_args(annotation) if typing.get_origin(annotation) is typing.Literal else ()
        options[parameter.name] = Option(parameter.name, annotation, parameter.default, choices)
    return options


def bind(kind: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
    """Convert options to the types in the method's signature. Raises `UserError` for options that it does not have."""
    known = options(kind, name)
    for key in given:
        if key not in known:
            raise no_option(f"{noun(kind)} '{name}'", key, known)
    return {key: coerce(value, known[key].type, f"{name}'s option '{key}'") for key, value in given.items()}
