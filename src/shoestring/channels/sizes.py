"""Numbers that modules keep beside their tensors, in their own code, follow the channels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from shoestring.channels.table import Table
from shoestring.models.layers import FITTED


@contextmanager
def follow_groups(module: nn.Module) -> Iterator[None]:
    """Note the convolutions whose number of groups changes inside the block: it cannot be told from their weights."""
    layers = {name: layer for name, layer in module.named_modules() if isinstance(getattr(layer, "groups", None), int)}
    before = {name: layer.groups for name, layer in layers.items()}
    yield
    _note(module, {f"{name}.groups": layer.groups for name, layer in layers.items() if layer.groups != before[name]})


def follow_sizes(module: nn.Module, table: Table, counts: Tensor) -> None:
    """Give modules whose code keeps the sizes of axes as numbers the new ones, where it is clear which they are.

    `counts` (channels of the table + 1,) says how many of each channel there are now. Layers whose sizes can be told
    from their tensors are left to `fit`.
    """
    wanted: dict[str, dict[int, set[int]]] = {}
    for one in table.sizes_in_code:
        wanted.setdefault(one.module, {}).setdefault(one.number, set()).add(int(counts[one.channels].sum()))
    for name, numbers in wanted.items():
        inner = module.get_submodule(name)
        clear = {old: new.copy().pop() for old, new in numbers.items() if len(new) == 1 and new != {old}}
        if clear and not isinstance(inner, FITTED):
            changed = _replaced(inner, clear)
            for attribute, value in changed.items():
                setattr(inner, attribute, value)
            _note(module, {f"{name}.{attribute}".removeprefix("."): value for attribute, value in changed.items()})


def _replaced(module: nn.Module, numbers: dict[int, int]) -> dict[str, Any]:
    """The attributes of one module that hold some of these numbers, with the new ones in their place."""
    found: dict[str, Any] = {}
    for attribute, value in vars(module).items():
        if type(value) is int and value in numbers:
            found[attribute] = numbers[value]
        elif isinstance(value, tuple | list) and all(type(entry) is int for entry in value):
            entries = [numbers.get(entry, entry) for entry in value]
            if entries != list(value):
                found[attribute] = tuple(entries) if isinstance(value, tuple) else entries
    return found


def _note(module: nn.Module, changed: dict[str, Any]) -> None:
    """Keep what changed on the root module, so that it can be saved."""
    if changed:
        module.sizes_changed = {**getattr(module, "sizes_changed", {}), **changed}  # type: ignore[assignment]
