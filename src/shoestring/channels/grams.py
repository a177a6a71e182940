"""Second moments of channels at the inputs of the layers that read them."""

from __future__ import annotations

from collections.abc import Collection, Iterable

import numpy as np
import torch
from torch import Tensor, nn

from shoestring.channels.activations import visit_inputs
from shoestring.channels.table import Axis, Table, group_indices

_MAX_ROWS = 4096  # positions sampled from each batch

Grams = dict[tuple[Axis, str], Tensor]  # by consuming axis and name of the group


def input_grams(
    module: nn.Module, table: Table, batches: Iterable[Tensor], *, groups: Collection[str] | None = None
) -> Grams:
    """Return sums of h h' (size, size), double, over random positions of `batches` (N, C, H, W).

    h are the channels of a group as a consuming layer reads them. Of a channel with several entries along an axis, each
    entry counts as a position. Only linear layers and convolutions without groups are included. `groups` are the names
    of the groups to include (None: all).
    """
    names = table.groups.keys() if groups is None else groups
    indices = {
        axis: {
            name: group_indices(table, axis, table.groups[name])
            for name in names
            if axis in table.groups[name].consumers
        }
        for axis in table.consumers & table.axes.keys()
    }
    grams: Grams = {}
    rng = np.random.default_rng(0)

    def accumulate(axis: Axis, values: Tensor) -> None:
        # a random sample: with a fixed stride all rows could lie in one column of the images
        sample = rng.choice(len(values), min(_MAX_ROWS, len(values)), replace=False)
        rows = values[torch.from_numpy(sample).to(values.device)].double()
        for name, own in indices[axis].items():
            channels = rows[:, own].transpose(1, 2).flatten(0, 1)  # (rows x entries per channel, size)
            grams[axis, name] = grams.get((axis, name), torch.zeros(())) + channels.T @ channels

    visit_inputs(module, table, batches, accumulate)
    return grams
