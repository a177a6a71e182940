"""Networks whose filters are clustered, and some whose filters are equal in pairs."""

from __future__ import annotations

import torch

import networks
from shoestring.channels import Table
from shoestring.channels.copying import copy_module
from shoestring.models import Model, Preprocessing

SIZE = Preprocessing(16, 3, (0.0,) * 3, (1.0,) * 3)
IMAGES = torch.randn(6, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def model(name: str = "resnet20", **options) -> Model:
    return Model(networks.network(name, options), name, options, tuple("abcde"), SIZE)


def table_of(one: Model) -> Table:
    return networks.traced(one.name, one.options)[1]


def with_equal_channels(one: Model) -> Model:
    """The model with half of the channels of each group copied over the other half, in all layers."""
    module, table = copy_module(one.module), table_of(one)
    tensors = dict(module.named_parameters()) | dict(module.named_buffers())
    for group in table.groups.values():
        source = torch.arange(group.size) % ((group.size + 1) // 2)
        for (tensor, dim), ids in table.axes.items():
            own = group.contains(ids).nonzero()[:, 0]
            if (tensor, dim) in table.consumers or not len(own):
                continue
            own = own[ids[own].argsort(stable=True)].view(group.size, -1)
            data = tensors[tensor].data
            rows = data.index_select(dim, own[source].flatten())
            data.index_copy_(dim, own.flatten(), rows)
    return Model(module, one.name, one.options, one.classes, one.preprocessing)


def outputs(one: Model, images=IMAGES) -> torch.Tensor:
    with torch.no_grad():
        return one.module.eval()(images)


def half(one: Model) -> dict[str, int]:
    table = table_of(one)
    return {name: (group.size + 1) // 2 for name, group in table.groups.items() if group.separable and group.size > 1}
