from __future__ import annotations

from functools import partial

import pytest
import torch

from shoestring.channels import trace
from shoestring.errors import UserError
from shoestring.models.architectures.resnet import resnet20
from shoestring.pruning import latency, select_channels, shrink
from shoestring.pruning.latency import LatencySearch, Measurement, check_latency, measure_latency
from shoestring.pruning.rounding import round_channels
from shoestring.runtime import extras

NETWORK = resnet20(5, width=0.5).eval()
EXAMPLE = torch.randn(1, 3, 16, 16)
TABLE = trace(NETWORK, EXAMPLE)


@pytest.fixture
def by_macs(monkeypatch):
    """Pretend that a network takes one millisecond, and another one for each million of MACs; list the networks."""
    measured = []

    def exported(module, example):
        measured.append(trace(module, example, verify=False).macs())
        return measured[-1]

    monkeypatch.setattr(latency, "_exported", exported)
    monkeypatch.setattr(latency, "_median_milliseconds", lambda macs, example, threads: 1 + macs / 1e6)
    return measured


@pytest.fixture
def by_multiples(by_macs, monkeypatch):
    """As `by_macs`, but numbers of channels that are no multiples of eight take as long as the next multiple."""

    def milliseconds(macs, example, threads):
        return 1 + macs / 1e6

    def exported(module, example):
        sizes = [layer.weight.shape[:2] for layer in module.modules() if isinstance(layer, torch.nn.Conv2d)]
        return sum(-(-inputs // 8) * -(-outputs // 8) for outputs, inputs in sizes) * 1e5

    monkeypatch.setattr(latency, "_exported", exported)
    monkeypatch.setattr(latency, "_median_milliseconds", milliseconds)


SCORES = TABLE.split(torch.rand(TABLE.size, generator=torch.Generator().manual_seed(0)))


def _search(measured: list[Measurement] | None = None) -> LatencySearch:
    choose, rounded = partial(_within, SCORES), partial(round_channels, scores=SCORES, table=TABLE)
    return LatencySearch(NETWORK, TABLE, EXAMPLE, choose, rounded, [].append if measured is None else measured.append)


def _within(scores, macs):
    return select_channels(scores, TABLE, macs=macs)


@pytest.mark.parametrize("fraction", [0.9, 0.5, 0.2])
def test_the_target_is_met_within_ten_percent_and_nothing_is_measured_twice(by_macs, fraction):
    target, search = 1 + fraction * TABLE.macs() / 1e6, _search()
    kept = search(target)
    assert 0.9 * target <= 1 + TABLE.macs(kept) / 1e6 <= target
    count = len(by_macs)
    assert count == len(search.measured) <= 12
    search(target)
    assert len(by_macs) == count


def test_a_network_that_is_fast_enough_keeps_all_channels(by_macs):
    assert all(len(own) == TABLE.groups[name].size for name, own in _search()(100.0).items())
    assert len(by_macs) == 1


def test_numbers_of_channels_are_rounded_where_that_is_faster(by_multiples):
    measured = []
    search, target = _search(measured), 6.0
    kept = search(target)
    pruned = [len(own) for name, own in kept.items() if len(own) < TABLE.groups[name].size]
    assert pruned and all(count % 8 == 0 for count in pruned)
    plain = LatencySearch(NETWORK, TABLE, EXAMPLE, partial(_within, SCORES), lambda kept, multiple: kept)(target)
    assert TABLE.macs(kept) > TABLE.macs(plain)
    found = next(one for one in measured if one.macs == TABLE.macs(kept))
    assert found.onnx_one_thread_ms <= target and found.params == TABLE.params(kept)
    assert len(measured) == len(search.measured)


def test_numbers_of_channels_stay_where_rounding_is_not_faster(by_macs):
    target = 1 + 0.5 * TABLE.macs() / 1e6
    plain = LatencySearch(NETWORK, TABLE, EXAMPLE, partial(_within, SCORES), lambda kept, multiple: kept)(target)
    kept = _search()(target)
    assert {name: own.tolist() for name, own in kept.items()} == {name: own.tolist() for name, own in plain.items()}


def test_unreachable_targets_name_the_least_latency(by_macs):
    with pytest.raises(UserError, match=r"a latency of 0\.5 ms cannot be reached: the smallest network takes 1"):
        _search()(0.5)
    with pytest.raises(UserError, match=r"a latency of 0\.5 ms cannot be reached"):
        check_latency(NETWORK, TABLE, EXAMPLE, 0.5)
    check_latency(NETWORK, TABLE, EXAMPLE, 5.0)


def test_shrink_prunes_to_a_latency(by_macs, make_model, make_images):
    model = make_model(make_images(channels=3, side=16), "resnet20", width=0.5)
    target = 1 + 0.5 * trace(model.module, EXAMPLE).macs() / 1e6
    small = shrink(model, [], latency=target / 1000)
    assert 0.9 * target <= 1 + trace(small.module, EXAMPLE).macs() / 1e6 <= target
    notes: list[str] = []
    shrink(model, [], latency="1h", log=notes.append)
    assert notes == ["nothing to prune: the network takes less than 3600000 ms per image"]


def test_networks_are_measured_in_onnx_runtime(monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(latency, "_SECONDS", 0.0)
    measured = measure_latency(NETWORK, EXAMPLE)
    assert measured.one_thread > 0 and measured.all_threads > 0


def test_networks_are_measured_that_one_exporter_cannot_export(monkeypatch, capfd):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(latency, "_SECONDS", 0.0)
    uneven = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(3), torch.nn.Flatten(), torch.nn.Linear(27, 2))
    assert measure_latency(uneven, torch.zeros(1, 3, 16, 16)).one_thread > 0
    assert capfd.readouterr() == ("", "")


def test_networks_that_cannot_be_exported_are_refused():
    class Odd(torch.nn.Module):
        def forward(self, images):
            return torch.linalg.eigvals(images).real

    with pytest.raises(UserError, match="cannot be exported to ONNX") as caught:
        measure_latency(Odd(), EXAMPLE)
    assert "\n" not in str(caught.value)


def test_missing_packages_are_named_with_the_command_that_installs_them(monkeypatch):
    monkeypatch.setattr(extras, "is_installed", lambda module: module != "onnxruntime")
    with pytest.raises(UserError, match=r'another package, onnxruntime: pip install "shoestring\[export\]"'):
        measure_latency(NETWORK, EXAMPLE)
