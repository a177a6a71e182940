from __future__ import annotations

import time
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from shoestring.evaluation.cost import MIN_PASSES, Cost, count_macs, mac_counter, measure_cost
from shoestring.models import Model, Preprocessing, build
from shoestring.runtime.threads import restore_threads, set_threads


def _model(name: str = "resnet20", size: int = 32) -> Model:
    classes = [str(digit) for digit in range(10)]
    return build(name, classes=classes, preprocessing=Preprocessing(size, 3, (0.5,) * 3, (0.25,) * 3))


def test_counts_match_publication_of_resnet20():
    found = measure_cost(_model(), seconds=0)
    assert found.params == 269_722
    assert found.macs == pytest.approx(40.55e6, rel=1e-3)


def test_macs_are_proportional_to_area():
    assert count_macs(_model(size=32)) == pytest.approx(4 * count_macs(_model(size=16)), rel=1e-3)


def test_file_bytes_match_the_saved_file(tmp_path):
    model = _model("simplecnn")
    model.save(tmp_path)
    assert measure_cost(model, seconds=0).file_bytes == (tmp_path / "model.safetensors").stat().st_size


def test_latencies_are_positive_without_time():
    found = measure_cost(_model("simplecnn", size=8), seconds=0)
    assert found.latency_ms > 0
    assert found.latency_batch_ms > 0


def test_the_latency_of_one_thread_leaves_out_the_time_that_other_processes_take():
    model = _model("simplecnn", size=8)
    model.module.register_forward_pre_hook(lambda *_: time.sleep(0.02))
    assert measure_cost(model, seconds=0, limit=0.0).latency_ms < 20


def test_measuring_does_not_change_the_model():
    model = _model("simplecnn", size=8)
    model.module.train()
    before = {name: tensor.clone() for name, tensor in model.module.state_dict().items()}
    measure_cost(model, seconds=0.01)
    count_macs(model)
    assert model.module.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.module.state_dict().items())


@pytest.mark.parametrize("name", ["resnet20", "convnet", "timm:test_vit", "timm:test_efficientnet"])
def test_macs_match_the_counter_of_torch(name):
    model = _model(name, size=160 if name.startswith("timm") else 32)
    model.module.eval()
    for layer in model.module.modules():
        if hasattr(layer, "fused_attn"):
            layer.fused_attn = False  # torch has no formula for the CPU kernel
    images = torch.zeros(1, 3, model.preprocessing.resolution, model.preprocessing.resolution)
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.module(images)
    assert count_macs(model) == counter.get_total_flops() // 2 > 0


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(3, 6, 3, groups=3),
        nn.Conv2d(3, 6, 3, stride=2, dilation=2, bias=False),
        nn.Conv2d(3, 6, 3, padding="same"),
        nn.ConvTranspose2d(3, 6, 3, stride=2, groups=3),
        nn.Sequential(nn.Flatten(2), nn.Conv1d(3, 4, 5)),
        nn.Sequential(nn.Flatten(2), nn.ConvTranspose1d(3, 4, 5)),
        nn.Sequential(nn.Unflatten(2, (2, 4)), nn.Conv3d(3, 4, 2)),
        nn.Sequential(nn.Unflatten(2, (2, 4)), nn.ConvTranspose3d(3, 4, 2)),
        nn.Linear(8, 5),
        nn.Linear(8, 5, bias=False),
    ],
    ids=str,
)
def test_macs_of_layers_match_the_counter_of_torch(layer):
    with torch.no_grad(), FlopCounterMode(display=False) as expected:
        layer(torch.zeros(1, 3, 8, 8))
    with mac_counter() as counter:
        layer(torch.zeros(1, 3, 8, 8))
    assert counter.macs == expected.get_total_flops() // 2 > 0


_MATRIX, _BATCH, _VECTOR = torch.zeros(4, 6), torch.zeros(2, 3, 4, 6), torch.zeros(6)


@pytest.mark.parametrize(
    "product, macs",
    [
        (lambda: _MATRIX @ _MATRIX.T, 4 * 6 * 4),
        (lambda: _MATRIX @ _VECTOR, 4 * 6),
        (lambda: _VECTOR @ _VECTOR, 6),
        (lambda: _VECTOR @ _MATRIX.T, 6 * 4),
        (lambda: _BATCH @ _MATRIX.T, 2 * 3 * 4 * 6 * 4),
        (lambda: _BATCH @ _BATCH.mT, 2 * 3 * 4 * 6 * 4),
        (lambda: torch.bmm(_BATCH[0], _BATCH[0].mT), 3 * 4 * 6 * 4),
        (lambda: torch.addmm(torch.zeros(4), _MATRIX, _MATRIX.T), 4 * 6 * 4),
        (lambda: torch.baddbmm(torch.zeros(4), _BATCH[0], _BATCH[0].mT), 3 * 4 * 6 * 4),
        (lambda: torch.einsum("bhij,kj->bhik", _BATCH, _MATRIX), 2 * 3 * 4 * 6 * 4),
    ],
)
def test_macs_of_products_are_those_of_their_shapes(product, macs):
    with mac_counter() as counter:
        product()
    assert counter.macs == macs


def test_prediction_costs_are_those_of_its_forward_passes():
    found = Cost(10, 1000, 40, latency_ms=2.0, latency_threads_ms=1.5, latency_batch_ms=0.5, latency_threads=4)
    latencies = {"latency_ms": 4.8, "latency_threads_ms": 3.6, "latency_batch_ms": 1.2, "latency_threads": 4}
    assert found.of_prediction(2.4) == {"passes": 2.4, "macs": 2400} | {
        name: pytest.approx(value) for name, value in latencies.items()
    }
    assert replace(found, latency_batch_ms=None).of_prediction(2.4)["latency_batch_ms"] is None


def test_batch_latency_is_not_measured_without_time():
    found = measure_cost(_model("simplecnn", size=8), seconds=0.01, limit=0.0)
    assert found.latency_batch_ms is None
    assert found.latency_ms > 0
    assert measure_cost(_model("simplecnn", size=8), seconds=0.01, limit=1000.0).latency_batch_ms is not None


@pytest.mark.parametrize(("limit", "more"), [(0.0, 0), (1000.0, 2)])
@pytest.mark.parametrize("threads", [1, 2])
def test_without_time_only_reserved_passes_are_made_on_one_thread(limit, more, threads):
    model, seen = _model("simplecnn", size=8), []
    model.module.register_forward_pre_hook(lambda _, inputs: seen.append((len(inputs[0]), torch.get_num_threads())))
    with restore_threads():
        set_threads(threads)
        found = measure_cost(model, seconds=0, limit=limit)
        assert torch.get_num_threads() == found.latency_threads == threads
    counted, *timed = seen
    assert counted == (1, threads)
    single = [(1, 1)] * (MIN_PASSES - 1) + [(1, threads)] * (more if threads > 1 else 0)
    assert timed == [*single, *[(64, threads)] * more]
    assert (found.latency_threads_ms is None) == (threads == 1 or not more)


@pytest.mark.parametrize("fused", [True, False])
def test_attention_macs_do_not_depend_on_the_kernel(fused):
    model = _model("timm:test_vit", size=160)
    blocks = model.module.blocks
    for block in blocks:
        block.attn.fused_attn = fused
    positions, width, hidden = 101, 64, blocks[0].mlp.fc1.out_features
    layers = positions * width * (4 * width + 2 * hidden)
    products = 2 * positions * positions * width
    assert count_macs(model) == 100 * 768 * width + len(blocks) * (layers + products) + 10 * width


def _counted(module: nn.Module, inputs: torch.Tensor) -> int:
    with mac_counter() as counter:
        module.eval()(inputs)
    return counter.macs


def test_fused_layers_are_counted():
    recurrent = nn.LSTM(8, 4, 2, bidirectional=True, batch_first=True)
    assert _counted(recurrent, torch.zeros(2, 5, 8)) == 2 * 5 * 2 * (16 * 8 + 16 * 4 + 16 * 8 + 16 * 4)
    encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)  # a single fused kernel
    assert _counted(encoder, torch.zeros(1, 5, 16)) == 5 * (4 * 16 * 16 + 2 * 16 * 32) + 2 * 5 * 5 * 16
    assert torch.backends.mha.get_fastpath_enabled()
    assert _counted(nn.Linear(8, 4), torch.zeros(8)) == _counted(nn.Linear(8, 4, bias=False), torch.zeros(8)) == 32


def test_failing_network_does_not_change_torch_settings():
    with pytest.raises(RuntimeError):
        _counted(nn.Linear(8, 4), torch.zeros(3))
    assert torch.backends.mha.get_fastpath_enabled()
    assert nn.Linear(8, 4)(torch.zeros(8)).requires_grad
