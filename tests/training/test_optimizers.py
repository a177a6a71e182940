from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

from shoestring.training.optimizers.adamw import AdamW
from shoestring.training.optimizers.base import Optimizer
from shoestring.training.optimizers.muon import Muon
from shoestring.training.optimizers.sgd import SGD

FACTORS = (1.0, 0.7, 0.1)


def _weights() -> list[nn.Parameter]:
    torch.manual_seed(0)
    wide = torch.randn(4, 3, 3, 3).to(memory_format=torch.channels_last)
    return [nn.Parameter(wide), nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(5, 2))]


def _give_gradients(weights: list[nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for weight in weights:
        weight.grad = torch.empty_like(weight).copy_(torch.randn(weight.shape, generator=generator))


def _groups(weights: list[nn.Parameter]) -> list[dict]:
    return [{"params": weights[:1], "weight_decay": 0.1}, {"params": weights[1:], "lr": 0.05}]


PAIRS = {
    "sgd": (
        lambda groups: SGD(groups, lr=0.2),
        lambda groups: torch.optim.SGD(groups, lr=0.2, momentum=0.9, nesterov=True),
    ),
    "adamw": (
        lambda groups: AdamW(groups, lr=0.2, betas=(0.85, 0.95)),
        lambda groups: torch.optim.AdamW([{"weight_decay": 0.0, **one} for one in groups], lr=0.2, betas=(0.85, 0.95)),
    ),
}


@pytest.mark.parametrize("name", PAIRS)
def test_a_rule_does_what_torch_does(name):
    ours, theirs = _weights(), _weights()
    optimizer, known = PAIRS[name][0](_groups(ours)), PAIRS[name][1](_groups(theirs))
    peaks = [group["lr"] for group in known.param_groups]
    for seed, factor in enumerate(FACTORS):
        _give_gradients(ours, seed)
        _give_gradients(theirs, seed)
        optimizer.step(factor)
        for group, peak in zip(known.param_groups, peaks):
            group["lr"] = peak * factor
        known.step()
    for one, other in zip(ours, theirs):
        assert torch.allclose(one, other, atol=1e-6)


@pytest.mark.parametrize("make", [*(pair[0] for pair in PAIRS.values()), lambda groups: Muon(groups[0]["params"])])
def test_a_factor_may_be_a_tensor(make):
    found = []
    for kind in (float, torch.tensor):
        weights = _weights()
        optimizer = make(_groups(weights))
        for seed, factor in enumerate(FACTORS):
            _give_gradients(weights, seed)
            optimizer.step(kind(factor))
        found.append(weights)
    assert all(torch.allclose(one, other, atol=1e-6) for one, other in zip(*found))


@pytest.mark.parametrize("name", PAIRS)
def test_a_rule_goes_on_from_what_it_remembered(name):
    found = []
    for stop in (None, 1):
        weights = _weights()
        optimizer = PAIRS[name][0](_groups(weights))
        for seed in range(3):
            if seed == stop:
                saved = optimizer.state_dict()
                optimizer = PAIRS[name][0](_groups(weights))
                optimizer.load_state_dict(saved)
            _give_gradients(weights, seed)
            optimizer.step()
        found.append(weights)
    assert all(torch.equal(one, other) for one, other in zip(*found))


@pytest.mark.parametrize("name", PAIRS)
def test_what_lies_otherwise_in_memory_is_laid_as_the_weight_does(name):
    found = []
    for laid in (torch.channels_last, torch.contiguous_format):
        weights = _weights()
        optimizer = PAIRS[name][0](_groups(weights))
        for seed in range(2):
            _give_gradients(weights, seed)
            for remembered in optimizer.state.values():
                for key, value in remembered.items():
                    remembered[key] = value.contiguous(memory_format=laid) if value.ndim == 4 else value
            weights[0].grad = weights[0].grad.contiguous(memory_format=laid)
            optimizer.step()
        found.append(weights)
    assert all(torch.equal(one, other) for one, other in zip(*found))


def test_weights_without_a_gradient_stay():
    weights = _weights()
    before = [weight.detach().clone() for weight in weights]
    optimizer: Optimizer = SGD(_groups(weights), lr=0.2)
    _give_gradients(weights[:1], 0)
    optimizer.step()
    assert [torch.equal(one, other) for one, other in zip(weights, before)] == [False, True, True]
    optimizer.zero_grad()
    assert all(weight.grad is None for weight in weights)


def test_training_does_not_import_compilers():
    code = """
import sys
import shoestring
from shoestring.runtime.context import Context
from shoestring.config.recipe import Train
from shoestring.planning.model import choose_network
from shoestring.planning.profiling import Profiler
data = shoestring.load("digits")
profiler = Profiler(shoestring.Budget(1), Context())
choose_network(data.train[:64], Train(), count=64, seconds=1.0, profiler=profiler)
budget = shoestring.Budget(epochs=6, steps=("train",))
model = shoestring.train(data.train[:64], model="convnet", width=0.25, grow="resolution,width", budget=budget)
shoestring.evaluate(model, data.test[:10])
assert "torch" in sys.modules
heavy = [name for name in ("torch._dynamo", "triton", "sympy") if name in sys.modules]
sys.exit(", ".join(heavy) or None)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
