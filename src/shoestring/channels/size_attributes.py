"""Integer attributes of modules that change with the number of channels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from shoestring.channels.table import Table


@contextmanager
def record_group_changes(module: nn.Module) -> Iterator[None]:
    """Record convolutions whose `groups` changes inside the block: it does not follow from the weight's shape."""
    layers = {name: layer for name, layer in module.named_modules() if isinstance(getattr(layer, "groups", None), int)}
    before = {name: layer.groups for name, layer in layers.items()}
    yield
    _record(module, {f"{name}.groups": layer.groups for name, layer in layers.items() if layer.groups != before[name]})


def update_size_attributes(module: nn.Module, table: Table, counts: Tensor) -> None:
    """Set the attributes that were used as axis sizes (`Table.size_attributes`) to the new sizes.

    `counts` (channels in the table + 1,) is the new number of copies of each channel.
    """
    changed: dict[str, Any] = {}
    for one in table.size_attributes:
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
    _record(module, changed)


def _record(module: nn.Module, changed: dict[str, Any]) -> None:
    """Store what changed on the root module, so that it can be saved."""
    if changed:
        module.sizes_changed = {**getattr(module, "sizes_changed", {}), **changed}  # type: ignore[assignment]
