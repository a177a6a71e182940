"""Numbers that modules keep beside their tensors, in their own code, follow the channels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from shoestring.channels.table import Table


@contextmanager
def follow_groups(module: nn.Module) -> Iterator[None]:
    """Note the convolutions whose number of groups changes inside the block: it cannot be told from their weights."""
    layers = {name: layer for name, layer in module.named_modules() if isinstance(getattr(layer, "groups", None), int)}
    before = {name: layer.groups for name, layer in layers.items()}
    yield
    _note(module, {f"{name}.groups": layer.groups for name, layer in layers.items() if layer.groups != before[name]})


def follow_sizes(module: nn.Module, table: Table, counts: Tensor) -> None:
    """Give the attributes of modules that were used as the sizes of axes the new ones.

    `counts` (channels of the table + 1,) says how many of each channel there are now.
    """
    changed: dict[str, Any] = {}
    for one in table.sizes_in_code:
        owner, size = module.get_submodule(one.attribute.module), int(counts[one.channels].sum())
        before = getattr(owner, one.attribute.name)
        value = size
        if one.attribute.index is not None:
            entries = list(before)
            entries[one.attribute.index] = size
            value = type(before)(entries)
        if value != before:
            setattr(owner, one.attribute.name, value)
            changed[one.attribute.full_name] = value
    _note(module, changed)


def _note(module: nn.Module, changed: dict[str, Any]) -> None:
    """Keep what changed on the root module, so that it can be saved."""
    if changed:
        module.sizes_changed = {**getattr(module, "sizes_changed", {}), **changed}  # type: ignore[assignment]
