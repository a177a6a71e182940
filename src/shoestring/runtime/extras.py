"""Packages of the extras, which only some features need; a message says how to install those that are missing."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Iterable
from types import ModuleType

from shoestring.errors import UserError


def install_command(extra: str) -> str:
    """Return the command that installs the packages of an extra."""
    return f'pip install "shoestring[{extra}]"'


def is_installed(module: str) -> bool:
    """Whether a top-level module can be imported; it is not."""
    return importlib.util.find_spec(module) is not None


def check_installed(modules: Iterable[str], *, what: str, extra: str) -> None:
    """Raise `UserError`, with the command that installs it, if a module is missing that `what` needs."""
    for module in modules:
        if not is_installed(module):
            raise _missing(module, what, extra)


def require(name: str, *, what: str, extra: str) -> ModuleType:
    """Import a module that `what` needs.

    Raises `UserError`, with the command that installs it, if its package is missing.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        package = name.partition(".")[0]
        if error.name != package:
            raise
        raise _missing(package, what, extra) from None


def _missing(module: str, what: str, extra: str) -> UserError:
    package = module.replace("_", "-")
    return UserError(f"{what} needs another package, {package}: {install_command(extra)}.")
