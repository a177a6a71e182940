from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from shoestring.budget import Budget
from shoestring.config.model_files import newest_snapshot
from shoestring.config.recipe import Train
from shoestring.data.memory import in_memory
from shoestring.growth.compose import compose
from shoestring.models.model import Model
from shoestring.runtime.signals import GRACE_SECONDS, GracePeriod
from shoestring.training import loop, snapshots
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.snapshots import Snapshots, remove
from trainings import fit
from trainings import prepare as begin

SETTINGS = Train(batch_size=10, label_smoothing=0.0)


def _window(epochs: float):
    return Budget(epochs=epochs, steps=("train",)).window("train")


@pytest.mark.parametrize("grow", ["constant", "width"])
def test_from_a_tenth_on_there_is_a_model_to_use(images, make_model, context, tmp_path, monkeypatch, grow):
    monkeypatch.setattr(snapshots, "_MIN_INTERVAL", 0.0)
    monkeypatch.setattr(snapshots, "_OVERHEAD", 1e9)
    found = []

    def on_progress(step: str, fraction: float, values: dict) -> None:
        folder = newest_snapshot(tmp_path)
        if folder is None:
            assert fraction < 0.1 + 2 / 60
            return
        files = sorted(file.name for file in folder.iterdir())
        assert files == ["model.json", "model.safetensors"]
        assert len(list(folder.parent.iterdir())) == 1
        found.append(Model.load(folder))

    monkeypatch.setattr(loop, "_REPORT_SECONDS", -1.0)
    model = make_model(images, "convnet", width=0.25)
    around, schedule = replace(context, folder=tmp_path, on_progress=on_progress), compose(grow, {})
    fit(model, images, _window(10), settings=SETTINGS, context=around, schedule=schedule, anytime=True)
    sizes = [sum(weight.numel() for weight in one.module.parameters()) for one in found]
    assert len(sizes) > 50 and sizes == sorted(sizes)
    assert (sizes[0] < sizes[-1]) == (grow == "width")
    last, final = (one.module.head.weight.detach() for one in (found[-1], model))
    assert (last - final).norm() < 0.1 * final.norm()  # averaged weights, close to the end
    remove(tmp_path)
    assert newest_snapshot(tmp_path) is None


def test_the_norms_of_a_model_to_use_fit_its_weights_and_whole_images(images, make_model, context):
    model = make_model(images, "resnet20", width=0.25)
    settings = replace(SETTINGS, batch_size=59)
    state = begin(model, images, _window(20), settings=settings, context=context)
    for _ in range(8):
        state.step(1.0)
    shipped, pixels = state.usable(), model.prepare(torch.from_numpy(images.pixels))
    seen = []
    shipped.module.bn1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    shipped.module.eval()(pixels)
    mean, deviation = seen[0].mean((0, 2, 3)), seen[0].std((0, 2, 3))
    assert torch.allclose(mean, shipped.module.bn1.bias, atol=1e-4)
    assert torch.allclose(deviation, shipped.module.bn1.weight.abs(), atol=1e-2)
    assert shipped.module.bn1.running_mean is not model.module.bn1.running_mean


def test_the_norms_of_a_finished_model_fit_its_weights(images, make_model, context):
    model = make_model(images, "resnet20", width=0.25)
    fit(model, images, _window(2), settings=SETTINGS, context=context)  # twelve steps, from which little is remembered
    seen = []
    model.module.bn1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model.module.eval()(model.prepare(torch.from_numpy(images.pixels)))
    assert torch.allclose(seen[0].mean((0, 2, 3)), model.module.bn1.bias, atol=0.05)
    assert torch.allclose(seen[0].std((0, 2, 3)), model.module.bn1.weight.abs(), atol=0.05)


def test_the_norms_look_at_all_classes_where_these_come_in_turn(make_model, context):
    labels = np.arange(512) % 4
    shades = np.random.default_rng(0).integers(0, 20, (512, 8, 8, 1)) + 60 * labels[:, None, None, None]
    images = in_memory(shades.astype(np.uint8), labels, classes=list("abcd"), resolution=8)
    model = make_model(images, "resnet20", width=0.25)
    fit(model, images, _window(1), settings=SETTINGS, context=context)  # an image in four is looked at
    seen = []
    model.module.bn1.register_forward_hook(lambda module, inputs, output: seen.append(output))
    model.module.eval()(model.prepare(torch.from_numpy(images.pixels)))
    assert torch.allclose(seen[0].mean((0, 2, 3)), model.module.bn1.bias, atol=0.3)
    assert torch.allclose(seen[0].std((0, 2, 3)), model.module.bn1.weight.abs(), atol=0.3)


@pytest.mark.parametrize(
    ("network", "whole", "told"), [("resnet20", True, True), ("resnet20", False, False), ("simplecnn", True, False)]
)
def test_making_a_model_to_use_tells_how_long_evaluation_takes(images, make_model, context, network, whole, told):
    model = make_model(images, network, width=0.25)
    state = begin(model, images, _window(20), settings=SETTINGS, context=context)
    state.predict_seconds, state.growth.depth = 9.0, 1.0 if whole else 0.5
    state.usable()
    assert (0 < state.predict_seconds < 1) if told else state.predict_seconds == 9.0


def test_snapshots_change_nothing_in_training(images, make_model, context, tmp_path):
    def run(**more) -> dict[str, torch.Tensor]:
        model = make_model(images)
        fit(model, images, _window(5), settings=SETTINGS, context=replace(context, folder=tmp_path), **more)
        (tmp_path / "state.pt").unlink(missing_ok=True)
        return model.module.state_dict()

    plain = run()
    assert newest_snapshot(tmp_path) is None
    for name, value in run(anytime=True).items():
        assert torch.equal(value, plain[name])


def test_whatever_happens_while_a_snapshot_is_written_the_last_one_is_whole(images, make_model, tmp_path, monkeypatch):
    one, other = make_model(images), make_model(images, "convnet")
    kept = Snapshots(tmp_path, 0.0)
    kept.save(lambda: one)

    def names() -> tuple[str, str]:
        folder = newest_snapshot(tmp_path)
        assert folder is not None
        return json.loads((folder / "model.json").read_text())["name"], Model.load(folder).name

    for owner, what in ((Model, "save_description"), (Path, "rename")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, what, _fails)
            with pytest.raises(KeyboardInterrupt):
                kept.save(lambda: other)
        assert names() == ("simplecnn", "simplecnn")
    with monkeypatch.context() as patch:
        patch.setattr("shutil.rmtree", lambda path, **_: None if path.name.startswith(".") else _fails())
        with pytest.raises(KeyboardInterrupt):
            kept.save(lambda: other)
    assert names() == ("convnet", "convnet")
    (tmp_path / "snapshot" / ".3").mkdir()
    (tmp_path / "snapshot" / ".3" / ".model.safetensors.half").touch()
    kept.save(lambda: one)
    assert names() == ("simplecnn", "simplecnn")
    assert [file.name for file in (tmp_path / "snapshot").iterdir()] == ["3"]
    assert len(list((tmp_path / "snapshot" / "3").iterdir())) == 2


def _fails(*_: object, **__: object) -> None:
    raise KeyboardInterrupt


def test_snapshots_come_at_most_every_two_seconds_and_cost_little(images, make_model, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    model = make_model(images)
    for seconds, pause in ((0.0, 2.0), (10.0, 2.0), (300.0, 15.0)):
        kept = Snapshots(tmp_path, seconds)
        assert not kept.due(0.09)
        assert kept.due(0.1)
        kept.save(lambda: model)
        now[0] += pause - 0.01
        assert not kept.due(0.5)
        now[0] += 0.02
        assert kept.due(0.5)
        assert not kept.due(0.96)
    assert not Snapshots(None, 300.0).due(0.5)


def test_what_making_a_snapshot_takes_counts(images, make_model, tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])

    def make() -> Model:
        now[0] += 1.0
        return make_model(images)

    kept = Snapshots(tmp_path, 300.0)
    kept.save(make)
    now[0] += 49.0
    assert not kept.due(0.5)
    now[0] += 1.1
    assert kept.due(0.5)


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")
def test_a_termination_signal_anneals_saves_and_interrupts(images, make_model, context, tmp_path, monkeypatch):
    now, factors = [0.0], []
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(loop, "_REPORT_SECONDS", -1.0)
    monkeypatch.setattr(Checkpoint, "due", lambda self: self.file is not None)

    def on_progress(step: str, fraction: float, values: dict) -> None:
        factors.append(values["learning_rate"])
        now[0] += 0.98 * GRACE_SECONDS / 10
        if len(factors) == 20:
            signal.raise_signal(signal.SIGTERM)

    def work(*_: object) -> None:
        now[0] += 0.02 * GRACE_SECONDS / 10

    model = make_model(images)
    model.module.register_forward_pre_hook(work)
    settings = replace(SETTINGS, optimizer="muon")  # whose rate only falls
    before = signal.signal(signal.SIGTERM, GracePeriod.on_signal)
    try:
        with pytest.raises(KeyboardInterrupt):
            around = replace(context, folder=tmp_path, on_progress=on_progress)
            fit(model, images, _window(100), settings=settings, context=around, anytime=True)
    finally:
        signal.signal(signal.SIGTERM, before)
    rest = factors[20:]
    assert len(rest) == 10
    assert rest == pytest.approx([factors[19] * (1 - step / 10) for step in range(10)], rel=0.05)
    saved, folder = Checkpoint(tmp_path).load(), newest_snapshot(tmp_path)
    assert saved is not None and 14 <= saved.content["counts"][0] < 20  # a training that goes on does so from before
    assert folder is not None
    Model.load(folder)
