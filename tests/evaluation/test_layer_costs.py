from __future__ import annotations

import pytest

from shoestring.evaluation.cost import count_macs, count_params
from shoestring.evaluation.layer_costs import measure_layers


@pytest.mark.parametrize("name", ["simplecnn", "resnet20"])
def test_costs_of_layers_add_up_to_those_of_the_network(images, make_model, name):
    model = make_model(images, name)
    model.module.train()
    layers = measure_layers(model, seconds=0.0)
    assert sum(layer.macs for layer in layers.values()) == count_macs(model)
    modules = dict(model.module.named_modules())
    for layer, cost in layers.items():
        assert cost.params == count_params(modules[layer]) and cost.latency_ms > 0
        assert cost.channels == modules[layer].weight.shape[0]
    assert model.module.training
    assert not any(part._forward_hooks or part._forward_pre_hooks for part in model.module.modules())
