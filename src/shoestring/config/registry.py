"""A name becomes a function: a built-in file, or an entry point of another package.

A built-in method is a public top-level function whose first argument is the one its protocol names, in a file of the
folder of its kind (`FOLDERS`); so adding a method is adding a file. Files are read as text to list the names, and
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
from shoestring.errors import UserError, unknown
from shoestring.suggestions import aliases, alike, nearest

# kind -> the folder of its built-in methods, one file each
FOLDERS = {
    "select": "selection/methods",
    "grow": "growth/schedules",
    "prune": "pruning/criteria",
    "models": "models/architectures",
    "data": "data/sources",
}
# kind -> the first argument of its protocol
PROTOCOLS = {"select": "pool", "grow": "spent", "prune": "model", "models": "classes", "data": "where"}
# kind -> keyword arguments that a method may declare and its caller provides: no options of the user's
_PROVIDED = {"select": ("rng", "already", "counts"), "models": ("channels",), "data": ("split",)}
_NOUNS = {
    "select": "selection method",
    "grow": "growth schedule",
    "prune": "pruning method",
    "models": "model",
    "data": "source",
}


@dataclass(frozen=True)
class Option:
    """One keyword argument of a method: the flag, its type and its default come from the signature."""

    name: str
    type: Any
    default: Any
    choices: tuple[Any, ...] = ()


def noun(kind: str) -> str:
    """What a method of this kind is called in messages."""
    return _NOUNS[kind]


@functools.cache
def _built_in(kind: str) -> dict[str, tuple[str, str]]:
    """Name -> (module, first line of its docstring), from the text of the kind's files."""
    found: dict[str, tuple[str, str]] = {}
    folder = FOLDERS[kind]
    for file in sorted((Path(shoestring.__file__).parent / folder).glob("[!_]*.py")):
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if not isinstance(node, ast.FunctionDef) or node.name.startswith("_"):
                continue
            arguments = [*node.args.posonlyargs, *node.args.args]
            if arguments and arguments[0].arg == PROTOCOLS[kind]:
                summary = (ast.get_docstring(node) or "").split("\n\n")[0].replace("\n", " ")
                found[node.name] = (f"shoestring.{folder.replace('/', '.')}.{file.stem}", summary)
    return found


def _plugins(kind: str) -> dict[str, Any]:
    return {point.name: point for point in entry_points(group=f"shoestring.{kind}")}


def names(kind: str) -> list[str]:
    """All known names of a kind, sorted."""
    return sorted({*_built_in(kind), *_plugins(kind)})


def summary(kind: str, name: str) -> str:
    """The first docstring paragraph of a method, without importing it when it is built in."""
    if name in _built_in(kind):
        return _built_in(kind)[name][1]
    return (inspect.getdoc(find(kind, name)) or "").split("\n\n")[0].replace("\n", " ")


def find(kind: str, name: str) -> Callable[..., Any]:
    """The method of that name; `UserError` with the nearest name when there is none."""
    if name in _built_in(kind):
        return getattr(importlib.import_module(_built_in(kind)[name][0]), name)
    plugins = _plugins(kind)
    if name not in plugins:
        near = _of_timm(name) if kind == "models" else None
        raise unknown(noun(kind), name, names(kind), hint=f"(`shoestring list {kind}`)", near=near)
    return plugins[name].load()


def _of_timm(name: str) -> str | None:
    """What a network is called that is in no file of ours, and perhaps in timm's: `timm:resnet50` for ResNet-50."""
    import timm

    called = {model: f"timm:{model}" for model in timm.list_models()}
    called |= {alias: alias for alias in aliases(name) if alias.startswith("timm:")}
    called |= {model: model for model in names("models")}
    near, ours = nearest(name, called), nearest(name, names("models"))
    if near is not None and ours is not None and not aliases(name) and alike(name, ours) >= alike(name, near):
        return ours
    return None if near is None else called[near]


def options(kind: str, name: str) -> dict[str, Option]:
    """The keyword-only arguments of a method that a user may set (all but those the caller provides)."""
    method = find(kind, name)
    hints = typing.get_type_hints(method)
    found = {}
    for parameter in inspect.signature(method).parameters.values():
        if parameter.kind is not parameter.KEYWORD_ONLY or parameter.name in _PROVIDED.get(kind, ()):
            continue
        own = hints.get(parameter.name, str)
        choices = typing.get_args(own) if typing.get_origin(own) is typing.Literal else ()
        found[parameter.name] = Option(parameter.name, own, parameter.default, choices)
    return found


def bind(kind: str, name: str, given: dict[str, Any]) -> dict[str, Any]:
    """The given options as the method's signature types them; `UserError` for options that it does not have."""
    known = options(kind, name)
    for key in given:
        if key not in known:
            if not known:
                raise UserError(f"{noun(kind)} '{name}' has no options, but '{key}' was given.")
            raise unknown(f"option of {noun(kind)} '{name}'", key, known)
    return {key: coerce(value, known[key].type, f"{name}'s option '{key}'") for key, value in given.items()}
