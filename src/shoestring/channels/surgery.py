"""Surgery on real tensors by the channel table."""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

from shoestring.channels.table import Kept, Table
from shoestring.models.layers import fit

Network = TypeVar("Network", bound=nn.Module)


def drop(module: Network, table: Table, kept: Kept) -> Network:
    """A copy of the module with only these channels of each group named: smaller tensors, not masks.

    `kept` maps group names to indices (k,) in 0..size-1, at least one each. The table must come from this module.
    """
    smaller = copy.deepcopy(module)
    named = dict(smaller.named_parameters()) | dict(smaller.named_buffers())
    for (name, dim), indices in table.selection(kept).items():
        tensor = named[name]
        tensor.grad = None
        tensor.data = tensor.data.index_select(dim, indices.to(tensor.device))
    fit(smaller)
    return smaller
