from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from shoestring.budget import Budget, Window
from shoestring.context import Context
from shoestring.grow import Stage
from shoestring.grow.compose import compose
from shoestring.models.inference import low_precision
from shoestring.recipe import Train
from shoestring.train import calibrate, plan
from shoestring.train.averaging import Average
from shoestring.train.calibrate import Speed
from shoestring.train.checkpoint import Checkpoint
from shoestring.train.choose import choose_model, preprocessing
from shoestring.train.dynamics import Recorder, lengths_seen, margins
from shoestring.train.pace import Pace
from shoestring.train.patience import Patience
from shoestring.train.setup import begin


def test_margins_are_the_label_less_the_best_other():
    logits = np.array([[1.0, 4.0, 2.0], [3.0, 0.5, 2.5], [0.0, 0.0, 1.0]], dtype=np.float32)
    assert margins(logits, np.array([1, 2, 0])).tolist() == [2.0, -0.5, -1.0]


def test_the_recorder_counts_as_a_slow_loop_does():
    rng = np.random.default_rng(0)
    recorder = Recorder(12)
    right, learnt, forgotten, margins = [False] * 11, [False] * 11, [0] * 11, [[] for _ in range(11)]
    confidence, error, gradient = ([[] for _ in range(11)] for _ in range(3))
    targets = rng.integers(0, 3, 12)
    for _ in range(40):
        index = rng.permutation(11)[:4]
        logits = rng.normal(size=(4, 3)).astype(np.float32)
        lengths = rng.random(4).astype(np.float32)
        recorder(*(torch.from_numpy(values) for values in (index, logits, targets[index], lengths)))
        for row, image, length in zip(logits, index, lengths):
            truth = row[targets[image]]
            margin = truth - max(value for label, value in enumerate(row) if label != targets[image])
            forgotten[image] += right[image] and margin <= 0
            right[image] = margin > 0
            learnt[image] = learnt[image] or margin > 0
            margins[image].append(margin)
            shares = np.exp(row) / np.exp(row).sum()
            confidence[image].append(shares[targets[image]])
            error[image].append(np.linalg.norm(shares - np.eye(3)[targets[image]]))
            gradient[image].append(error[image][-1] * length)
    found = recorder.result()
    assert found.forgotten[:11].tolist() == forgotten
    assert found.learnt[:11].tolist() == learnt
    assert found.margin[:11] == pytest.approx([np.mean(own) for own in margins], abs=1e-6)
    assert (found.forgotten[11], found.learnt[11], found.margin[11]) == (0, False, -np.inf)
    epochs = max(len(own) for own in confidence)
    for values, expected in ((found.confidence, confidence), (found.error, error), (found.gradient, gradient)):
        assert values.shape == (epochs, 12)
        for image in range(11):
            assert values[: len(expected[image]), image] == pytest.approx(expected[image], abs=1e-6)
            assert np.isnan(values[len(expected[image]) :, image]).all()
    again = Recorder(12)
    again.restore(recorder.state())
    assert np.array_equal(again.result().margin, found.margin)
    assert np.array_equal(again.result().gradient, found.gradient, equal_nan=True)


@pytest.mark.parametrize("bias", [True, False])
def test_error_times_length_is_the_length_of_the_gradient_of_the_last_layer(bias):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3, bias=bias))
    batch, labels = torch.randn(6, 5), torch.tensor([0, 1, 2, 0, 1, 2])
    recorder = Recorder(6)
    with lengths_seen(module) as lengths:
        recorder(torch.arange(6), module(batch), labels, lengths[-1])
    module(batch)
    assert len(lengths) == 1  # nobody watches any more
    for image, label, found in zip(batch, labels, recorder.result().gradient[0]):
        loss = nn.functional.cross_entropy(module(image[None]), label[None])
        gradients = torch.autograd.grad(loss, list(module[2].parameters()))
        assert found == pytest.approx(float(torch.cat([one.flatten() for one in gradients]).norm()), rel=1e-5)


def test_lengths_are_seen_in_low_precision_and_through_a_compiled_network():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(5, 4), nn.ReLU(), nn.Linear(4, 3))
    batch = torch.randn(6, 5)
    found = []
    compiled = torch.compile(module, backend="eager")
    for network, precision in ((module, "float32"), (module, "bfloat16"), (compiled, "float32")):
        with low_precision("cpu", precision), lengths_seen(network) as lengths:
            network(batch)
        found.append(lengths[-1])
    assert found[1].dtype == torch.float32
    assert torch.allclose(found[0], found[1], rtol=0.02)
    assert torch.allclose(found[0], found[2])


def test_the_average_follows_its_formula():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = Average(module, share=0.5, every=2)
    expected = module[0].weight.detach().clone()
    for step in range(1, 12):
        module(torch.randn(4, 2))
        with torch.no_grad():
            module[0].weight.add_(torch.randn(2, 2))
        average.update(module)
        if step % 2 == 0:
            weight = min(1.0, 2 / (0.5 * step))
            expected = (1 - weight) * expected + weight * module[0].weight.detach()
    twin = Average(module, share=0.5, every=2)
    twin.restore(average.state())
    twin.apply(module)
    assert torch.allclose(module[0].weight, expected, atol=1e-6)
    assert module[1].num_batches_tracked == 11


def test_pace_smooths_the_next_step():
    pace = Pace(1.0, memory=0.5)
    assert pace.expect(0.25) == 0.25
    for seconds in (2.0, 2.0, 6.0):
        pace.add(1.0, seconds)
    assert pace.expect(1.0) == 4.0
    assert pace.expect(0.25) == 0.25


def test_pace_bears_a_clock_that_shows_no_time():
    pace = Pace(1.0)
    for seconds in (0.0, 0.0, 0.1):
        pace.add(1.0, seconds)
    assert 0 < pace.expect(1.0) < 0.1
    assert pace.slowdown >= 1.0


def test_pace_knows_a_machine_that_stays_slow_from_one_that_stalls():
    pace = Pace(1.0)
    assert pace.slowdown == 1.0
    for _ in range(100):
        pace.add(1.0, 0.1)
    assert pace.slowdown == 1.0
    pace.add(1.0, 0.5)  # one step in which the machine stalled
    assert pace.slowdown < 1.3
    for _ in range(100):  # twenty seconds at half of the speed
        pace.add(1.0, 0.2)
    assert pace.slowdown == pytest.approx(2.0, abs=0.05)
    for _ in range(60):
        pace.add(1.0, 5.0)
    assert pace.slowdown == pytest.approx(3.0, abs=0.01)  # no worse is planned for
    for _ in range(400):
        pace.add(1.0, 0.1)
    assert pace.slowdown == pytest.approx(1.0, abs=0.05)


def test_patience_counts_misses_in_a_row():
    module = nn.Linear(1, 1, bias=False)
    patience = Patience(2, every=0.1)
    assert not patience.due(0.05)
    for fraction, score, stop in [(0.1, 1.0, False), (0.21, 0.5, False), (0.32, 2.0, False), (0.43, 2.0, False)]:
        assert patience.due(fraction)
        module.weight.data.fill_(score)
        assert patience.over(score, module, fraction) is stop
        assert not patience.due(fraction + 0.05)
    assert patience.over(1.0, module, 0.54)
    assert patience.restore_best(module)
    assert module.weight.item() == 2.0


def test_without_a_limit_patience_never_asks():
    patience = Patience(None)
    assert not patience.due(1.0)
    assert not patience.restore_best(nn.Linear(1, 1))


def test_checkpoints_are_whole_or_absent(tmp_path, monkeypatch):
    checkpoint = Checkpoint(tmp_path / "train")
    assert checkpoint.load() is None
    assert not checkpoint.due()
    checkpoint.save({"steps": 3, "weights": [torch.ones(2)]})
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save({"steps": 4})
    saved = checkpoint.load()
    assert saved is not None and saved["steps"] == 3
    assert [file.name for file in (tmp_path / "train").iterdir()] == ["state.pt"]


def test_without_a_folder_nothing_is_kept():
    checkpoint = Checkpoint(None)
    checkpoint.save({"steps": 1})
    assert checkpoint.load() is None
    assert not checkpoint.due()


@pytest.mark.parametrize(("count", "size"), [(10, 32), (300, 37), (50_000, 500)])
def test_small_data_gets_small_batches_and_fast_devices_large_ones(count, size):
    assert plan.first_batch_size(count, "cpu") == size
    assert plan.first_batch_size(count, "cuda:1") == (1000 if size == 500 else size)


def test_batches_are_halved_while_time_is_short():
    long, short = Budget("1000s").window("train"), Budget("10s").window("train")
    quick, slow = (Speed("float32", seconds, 0.0) for seconds in (0.001, 1.0))

    def size(window: Window, speed: Speed, stages: str = "1@1") -> int:
        return plan.fewer_images_a_step(500, window, speed, compose("auto", {}, stages), 32)

    assert size(long, quick) == 500
    assert size(short, quick) == 62
    assert size(long, replace(quick, update=4.7)) == 500  # half of the images would take nearly as long
    assert size(short, replace(quick, update=0.06)) == 62
    assert size(short, slow) == 62
    assert size(Budget(epochs=1).window("train"), slow) == 500
    # 0.4 of the time goes into steps of a sixteenth, so there are seven times as many
    assert size(short, quick, "1@0.5@0.25:0.4,1@1") == 250
    assert size(short, quick, "0.5@1:0.5,1@1") == 62
    assert size(long, quick, "0.25@0.25:0.999,1@1") == 62  # the whole problem needs some steps, too


@pytest.mark.parametrize(
    ("share", "full", "side"), [(1.0, 30, 30), (0.75, 32, 24), (0.5, 8, 8), (0.1, 32, 8), (0.7, 32, 24), (0.99, 6, 6)]
)
def test_sides_of_stages(share, full, side):
    assert plan.side(Stage(share), full) == side


def test_small_images_are_cropped_and_large_ones_scaled():
    assert plan.smaller(32, 32) == {}
    assert plan.smaller(24, 32) == {"crop": 24}
    assert plan.smaller(48, 64) == {"resolution": 48}


def test_augmentation_is_what_was_asked_for_or_goes_by_the_data():
    few, often = (plan.augmentation(Train(), count, mirrored=True, passes=100) for count in (500, 50_000))
    many = plan.augmentation(Train(), 50_000, mirrored=True, passes=10)
    assert (few.flip, few.shift, few.cutout, few.jitter) == (True, 0.125, 0.25, 0.5)
    assert (often.shift, often.cutout, often.jitter) == (0.125, 0.25, 0.0)
    assert (many.shift, many.cutout, many.jitter) == (0.0625, 0.0, 0.0)
    seldom = plan.augmentation(Train(), 500, mirrored=False, passes=10)
    assert (seldom.flip, seldom.shift, seldom.jitter) == (False, 0.125, 0.0)
    wanted = Train(flip=True, shift=0.0, cutout=0.5, rotate=5, zoom=0.1, jitter=0.2)
    asked = plan.augmentation(wanted, 500, mirrored=False, passes=10)
    assert asked.jitter == 0.2
    assert (asked.flip, asked.shift, asked.cutout, asked.rotate, asked.zoom) == (True, 0.0, 0.5, 5, 0.1)


def test_the_preprocessing_makes_channels_standard(make_images):
    images = make_images(channels=3)
    found = preprocessing(images, mirror=True, views="flip")
    pixels = images.pixels / 255
    assert found.mean == pytest.approx(pixels.mean((0, 1, 2)), abs=1e-3)
    assert found.std == pytest.approx(pixels.std((0, 1, 2)), abs=1e-3)
    assert (found.resolution, found.channels, found.mirror) == (8, 3, True)


def test_the_model_asked_for_is_built_from_the_seed(images):
    def build(seed: int):
        return choose_model(images, Train(model="convnet", width=0.25), context=Context(seed=seed), seconds=None)

    one, same, other = build(0), build(0), build(1)
    assert (one.name, one.options, one.classes) == ("convnet", {"width": 0.25}, images.classes)
    assert not one.preprocessing.mirror  # these classes differ from their mirror images
    for (name, a), b in zip(one.module.state_dict().items(), same.module.state_dict().values()):
        assert torch.equal(a, b), name
    assert any(not torch.equal(a, c) for a, c in zip(one.module.parameters(), other.module.parameters()))


def test_auto_takes_a_wider_network_where_time_allows(images, monkeypatch):
    from shoestring.train import choose

    monkeypatch.setattr(choose, "calibrate", lambda *_, **__: Speed("float32", 1e-3, 1e-4))
    widths = [choose.fitting_width(images, 60, context=Context(), seconds=seconds) for seconds in (1, 200, 400, 1e6)]
    assert widths[0] == 0.25 and widths[-1] == 2.0
    assert widths == sorted(widths) and widths[1] < widths[2]
    assert choose.fitting_width(images, 60, context=Context(), seconds=None) == 0.5


def test_an_anytime_training_remembers_more_steps(images, make_model):
    shares = {}
    for schedule in ("deadline", "anytime"):
        model = make_model(images, "convnet")
        window = Budget(epochs=20, steps=("train",)).window("train")
        settings = Train(schedule=schedule)
        around = {"context": Context(), "schedule": compose("constant", {}), "scale": 1.0, "saved": None}
        shares[schedule] = begin(model, images, window, settings=settings, **around).average.share
    assert shares == {"deadline": 0.05, "anytime": 0.1}


def _begun(images, model, **settings):
    window = Budget(epochs=20, steps=("train",)).window("train")
    around = {"context": Context(), "schedule": compose("constant", {}), "scale": 1.0, "saved": None}
    return begin(model, images, window, settings=Train(averaging=False, **settings), **around)


def _gradients(model) -> list[torch.Tensor]:
    """Those of the logits, as steps that follow find them."""
    found: list[torch.Tensor] = []
    last = [layer for layer in model.module.modules() if isinstance(layer, nn.Linear)][-1]

    def watch(layer: nn.Module, inputs: object, logits: torch.Tensor) -> None:
        logits.register_hook(lambda gradient: found.append(gradient.float()))

    last.register_forward_hook(watch)
    return found


@pytest.mark.parametrize(("precision", "scale"), [("bfloat16", 1), ("float16", 1024)])
def test_a_step_in_low_precision_is_about_that_in_full(images, make_model, precision, scale):
    moved, sizes = [], []
    for taken in ("float32", precision):
        model = make_model(images, "simplecnn")
        state = _begun(images, model, precision=taken, optimiser="sgd")
        gradients = _gradients(model)
        before = [weight.detach().clone() for weight in model.module.parameters()]
        state.step(1.0, smoothing=0.0)
        moved.append(torch.cat([(new - old).flatten() for new, old in zip(model.module.parameters(), before)]))
        sizes.append(gradients[0].norm().item())
    assert (moved[0] - moved[1]).norm() < 0.1 * moved[0].norm()
    assert sizes[1] / sizes[0] == pytest.approx(scale, rel=0.05)


def test_in_float16_the_scale_falls_when_training_goes_back(images, make_model):
    model = make_model(images, "simplecnn")
    state = _begun(images, model, precision="float16", optimiser="sgd", learning_rate=1e-9)
    gradients, start = _gradients(model), state.batches.state()
    for setbacks in (0, 1):
        state.setbacks = setbacks
        state.batches.restore(start)
        state.step(1.0, smoothing=0.0)
    assert (gradients[0].norm() / gradients[1].norm()).item() == pytest.approx(16, rel=0.05)


def test_what_changes_a_step_is_recorded_anew(images, make_model, monkeypatch):
    state = _begun(images, make_model(images, "convnet"))
    forgotten = []
    monkeypatch.setattr(state.replay, "forget", lambda: forgotten.append(1))
    saved = state.pack()
    watch, unpack = (lambda: state.watch(Recorder(len(images)))), (lambda: state.unpack(saved))
    for change in (unpack, state.halve, state.finish, watch):
        forgotten.clear()
        change()
        assert forgotten


def test_a_training_leaves_no_circle_behind(images, make_model):
    state = _begun(images, make_model(images, "convnet"))
    state.step(1.0, smoothing=0.0)
    held = weakref.ref(state)
    gc.disable()
    try:
        del state
        assert held() is None
    finally:
        gc.enable()


def test_devices_without_bfloat16_of_their_own_are_timed_in_float16(monkeypatch):
    for able, expected in ((True, ["bfloat16"]), (False, ["float16"])):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, able=able: able)
        assert calibrate._low("cuda") == expected
    assert (calibrate._low("cpu"), calibrate._low("mps")) == (["bfloat16"], [])
