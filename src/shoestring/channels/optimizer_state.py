"""Optimizer state follows the weights through surgery."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from shoestring.channels.edits import Edit, Layout
from shoestring.channels.table import Axis, Table

_FIRST_MOMENTS = ("exp_avg", "momentum_buffer", "grad_avg", "exp_inf", "prev")
_SECOND_MOMENTS = ("exp_avg_sq", "max_exp_avg_sq", "square_avg", "sum", "acc_delta")
_POWERS = {**dict.fromkeys(_FIRST_MOMENTS, 1), **dict.fromkeys(_SECOND_MOMENTS, 2)}


class StatefulOptimizer(Protocol):
    """An optimizer of `torch.optim`, or any other that keeps tensors by name for each weight."""

    @property
    def state(self) -> MutableMapping[Tensor, Any]:
        """The state of each weight."""
        ...


def check_state(optimizer: StatefulOptimizer, names: Mapping[int, str]) -> None:
    """Raise `ValueError` if state is neither shaped like its weight nor a single number.

    `names` maps the `id` of each tensor of the module to its name.
    """
    for parameter, state in optimizer.state.items():
        for key, value in state.items() if id(parameter) in names else ():
            tensors = [leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor)]
            other_shape = any(one.shape not in ((), (1,), parameter.shape) for one in tensors)
            if other_shape or (tensors and not isinstance(value, Tensor)):
                raise ValueError(
                    f"the state of {type(optimizer).__name__} cannot follow channels: '{key}' of "
                    f"{names[id(parameter)]} is not shaped like the weight. Create a new optimizer after the surgery."
                )


def edit_state(
    optimizer: StatefulOptimizer,
    names: Mapping[int, str],
    table: Table,
    layouts: Mapping[Axis, Layout],
    edits: Mapping[str, Edit],
) -> None:
    """Index moments like their weights, and scale them as the gradients will be.

    Producers of a copy get a fraction of the gradient, consumers of a copy all of it, and consumers of a new channel
    that is not read yet none.
    """
    for parameter, state in optimizer.state.items():
        name = names.get(id(parameter))
        for key, value in state.items():
            if name is None or not isinstance(value, Tensor) or value.shape != parameter.shape:
                continue
            for axis, layout in layouts.items():
                if axis[0] == name:
                    value = value.index_select(axis[1], layout.sources.to(value.device))
                    scale = _gradient_scales(table, axis, layout, edits)
                    scale = (scale > 0).float() if axis in table.consumers else scale
                    factor = scale.to(value) ** _POWERS.get(key, 0)
                    value = value * factor.view(-1, *[1] * (value.ndim - axis[1] - 1))
            state[key] = value


def _gradient_scales(table: Table, axis: Axis, layout: Layout, edits: Mapping[str, Edit]) -> Tensor:
    """Return the gradient scale of each entry of a new axis."""
    scales = torch.ones(len(layout.sources))
    ids = table.axes[axis][layout.sources]
    for name, edit in edits.items():
        if edit.gradient_scale is not None:
            inside = table.groups[name].contains(ids)
            scales[inside] = edit.gradient_scale[layout.copies[inside]]
    return scales
