"""Sizes in the code of modules: whole numbers that know which axis or which attribute they come from.

Code that arranges one tensor by the size of another (`y.reshape(n, x.shape[1], -1)`), or by a number that its module
keeps (`self.num_heads`), couples channels that never meet. A traced pass hands out such numbers, and when one comes
back as a size, the axis that has this size is known to follow.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from shoestring.models.layers import FITTED


class AxisSize(int):
    """The size of an axis of an activation: `labels` are those of its elements, `dim` is the axis."""

    labels: Tensor
    dim: int


@dataclass(frozen=True)
class Attribute:
    """Where a module keeps a number: the name of the module and of the attribute, the index in a tuple or list."""

    module: str
    name: str
    index: int | None = None

    @property
    def full_name(self) -> str:
        """The name from the root module on."""
        return f"{self.module}.{self.name}".removeprefix(".")


class AttributeSize(int):
    """A number that a module keeps in its own code; `attribute` says where."""

    attribute: Attribute


def sizes_of(result: Any, labels: Tensor, dim: int | None) -> Any:
    """What `shape` or `size(dim)` gave for a tensor with these labels, as numbers that know their axes."""
    if isinstance(result, int):
        assert dim is not None
        return _axis_size(result, labels, dim)
    return torch.Size([_axis_size(size, labels, dim) for dim, size in enumerate(result)])


def _axis_size(size: int, labels: Tensor, dim: int) -> AxisSize:
    number = AxisSize(size)
    number.labels, number.dim = labels, dim % labels.ndim
    return number


def tag(module: nn.Module, name: str) -> None:
    """Exchange the whole numbers that a module keeps, alone or in tuples and lists, for ones that know where they are.

    Layers whose sizes can be told from their tensors are left alone.
    """
    if isinstance(module, (*FITTED, torch.jit.ScriptModule)):
        return
    for key, value in vars(module).items():
        if type(value) is int:
            vars(module)[key] = _attribute_size(value, Attribute(name, key))
        elif type(value) in (tuple, list) and value and all(type(entry) is int for entry in value):
            entries = (_attribute_size(entry, Attribute(name, key, index)) for index, entry in enumerate(value))
            vars(module)[key] = type(value)(entries)


def _attribute_size(size: int, attribute: Attribute) -> AttributeSize:
    number = AttributeSize(size)
    number.attribute = attribute
    return number
