"""Sizes in the code of modules: integers that know which axis or module attribute they come from.

Code that reshapes one tensor by the size of another (`y.reshape(n, x.shape[1], -1)`), or by a number that its module
stores (`self.num_heads`), couples channels that never meet in an operation. A traced pass hands out tagged integers;
where one of them comes back as the size of an axis, that axis is known to depend on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from shoestring.models.layers import SIZED_LAYERS


class AxisSize(int):
    """The size of axis `dim` of an activation; `labels` are the labels of the activation's elements."""

    labels: Tensor
    dim: int


@dataclass(frozen=True)
class AttributeRef:
    """Where a module stores a number: module name, attribute name, and index in a tuple or list."""

    module: str
    name: str
    index: int | None = None

    @property
    def full_name(self) -> str:
        """The dotted name, starting at the root module."""
        return f"{self.module}.{self.name}".removeprefix(".")


class AttributeSize(int):
    """An integer attribute of a module; `attribute` is where it is stored."""

    attribute: AttributeRef


def tagged_sizes(result: Any, labels: Tensor, dim: int | None) -> Any:
    """Tag the result of `shape` or `size(dim)` of a tensor that has these labels."""
    if isinstance(result, int):
        assert dim is not None
        return _axis_size(result, labels, dim)
    return torch.Size([_axis_size(size, labels, dim) for dim, size in enumerate(result)])


def _axis_size(size: int, labels: Tensor, dim: int) -> AxisSize:
    tagged = AxisSize(size)
    tagged.labels, tagged.dim = labels, dim % labels.ndim
    return tagged


def tag_attributes(module: nn.Module, name: str) -> None:
    """Replace the integer attributes of a module, also in tuples and lists, with tagged ones.

    Layers whose sizes follow from their tensors are skipped.
    """
    if isinstance(module, (*SIZED_LAYERS, torch.jit.ScriptModule)):
        return
    for key, value in vars(module).items():
        if type(value) is int:
            vars(module)[key] = _attribute_size(value, AttributeRef(name, key))
        elif type(value) in (tuple, list) and value and all(type(entry) is int for entry in value):
            entries = (_attribute_size(entry, AttributeRef(name, key, index)) for index, entry in enumerate(value))
            vars(module)[key] = type(value)(entries)


def _attribute_size(size: int, attribute: AttributeRef) -> AttributeSize:
    tagged = AttributeSize(size)
    tagged.attribute = attribute
    return tagged
