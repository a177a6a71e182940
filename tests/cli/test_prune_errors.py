"""Mistakes in the settings of pruning: one line, exit code 2, and the original model stays as it is."""

from __future__ import annotations

import pytest

from shoestring.pruning import latency

pytestmark = pytest.mark.usefixtures("few_digits")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    return tmp_path_factory.mktemp("runs")


@pytest.fixture
def trained(call, runs):
    if not (runs / "whole").exists():
        words = ("--model", "simplecnn", "--norm", "--width", "0.5", "--epochs", 2, "--device", "cpu")
        call("train", "digits", *words, "--out", runs / "whole")
    return runs / "whole"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--macs 0.0001", "MACs cannot be reached: with one channel left in every layer"),
        ("--params 0.0001 --keep-channels conv1=0.5", "parameters cannot be reached: with the channels to keep"),
        ("--file-size 0.0001", "bytes cannot be reached"),
        ("--latency 0.0001ms", "cannot be reached: the smallest network takes"),
        ("--keep-channels covn1=0.5", "Did you mean 'conv1'?"),
        ("--clusters 500", "--clusters 500 is more than the filters of the layers"),
        ("--clusters covn1=3", "Did you mean 'conv1'?"),
        ("--macs 100M", "nothing to prune: the network has"),
        ("--params 900k --file-size 90MB", "nothing to prune: the network has"),
        ("--keep-channels 1", "nothing to prune: --keep-channels keeps all channels"),
        ("--keep-channels 0.995", "nothing to prune: --keep-channels keeps all channels"),
        ("--keep-channels 1 --macs 100M", "nothing to prune: --keep-channels keeps all channels and the network has"),
        ("--latency 10s", "nothing to prune: the network takes 1 ms per image (target: 10s)"),
        ("--clusters 500,conv1=3", "is not a number of clusters"),
    ],
)
def test_the_original_model_stays(refused, trained, runs, words, message, monkeypatch):
    monkeypatch.setattr(latency, "require_onnx_runtime", lambda: None)
    monkeypatch.setattr(latency, "_exported", lambda module, example: b"")
    monkeypatch.setattr(latency, "_median_milliseconds", lambda model, example, threads: 1.0)
    before = {file: file.read_bytes() for file in trained.rglob("*") if file.is_file()}
    assert message in refused("prune", trained, *words.split(), "--epochs", 3, "--out", runs / "small")
    assert {file: file.read_bytes() for file in trained.rglob("*") if file.is_file()} == before
    assert not (runs / "small").exists()


def test_pruning_needs_a_run_with_a_model_and_images_of_its_classes(call, refused, trained, tmp_path, photos):
    (tmp_path / "empty").mkdir()
    assert "empty" in refused("prune", tmp_path / "empty", "--macs", "0.5", "--out", tmp_path / "small")
    assert "nowhere" in refused("prune", tmp_path / "nowhere", "--macs", "0.5", "--out", tmp_path / "small")
    selected = call("select", "digits", "--examples", 50, "--method", "random", "--out", tmp_path / "selected")
    assert selected["examples"] == 50
    assert "trained no network" in refused("prune", tmp_path / "selected", "--macs", "0.5", "--out", tmp_path / "small")
    assert not (tmp_path / "small").exists()
