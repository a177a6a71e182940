"""Modules that can be called: a function and the module of its name can then both be had, in any order of imports."""

from __future__ import annotations

import importlib
import sys
import types
from typing import Any

# module -> where its function is, if not in the module itself
_ELSEWHERE = {f"shoestring.{name}": "shoestring.steps" for name in ("evaluate", "prune", "select", "train")}


class CalledModule(types.ModuleType):
    """A module, such as `shoestring.select`, that can be called as the function of its name."""

    @property
    def __wrapped__(self) -> Any:
        name = self.__name__
        where = importlib.import_module(_ELSEWHERE[name]) if name in _ELSEWHERE else self
        return vars(where)[name.rpartition(".")[2]]

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The function, called."""
        return self.__wrapped__(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return importlib.import_module, (self.__name__,)


def call_modules(package: str, *names: str) -> None:
    """Put modules of a package in the place of the functions of the same names, which calling them calls."""
    for name in names:
        module = importlib.import_module(f"{package}.{name}")
        module.__class__ = CalledModule
        setattr(sys.modules[package], name, module)
