from __future__ import annotations

import sys
import time
from dataclasses import replace

import pytest
import torch
from torch import nn

from shoestring.budget import Budget
from shoestring.config.plan import StepTimes
from shoestring.config.recipe import Train
from shoestring.config.stages import Stages
from shoestring.data.augment import Augment
from shoestring.growth import Stage
from shoestring.growth.compose import compose
from shoestring.growth.image_size import resizing, stage_side
from shoestring.planning import defaults, profiling
from shoestring.planning.model import build_network, choose_network, preprocessing
from shoestring.planning.profiling import Profile, Profiler
from shoestring.runtime.context import Context
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.early_stopping import EarlyStopping, Score
from shoestring.training.ema import WeightAverage
from shoestring.training.step_times import StepTimer


def test_the_average_follows_its_formula():
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = WeightAverage(module, fraction=0.5, every=2)
    expected = module[0].weight.detach().clone()
    for step in range(1, 12):
        module(torch.randn(4, 2))
        with torch.no_grad():
            module[0].weight.add_(torch.randn(2, 2))
        average.update(module)
        if step % 2 == 0:
            weight = min(1.0, 2 / (0.5 * step))
            expected = (1 - weight) * expected + weight * module[0].weight.detach()
    twin = WeightAverage(module, fraction=0.5, every=2)
    twin.restore(average.state())
    twin.apply(module)
    assert torch.allclose(module[0].weight, expected, atol=1e-6)
    assert module[1].num_batches_tracked == 11


def test_step_times_are_smoothed():
    timer = StepTimer(1.0, memory=0.5)
    assert timer.expected(0.25) == 0.25
    for seconds in (2.0, 2.0, 6.0):
        timer.add(1.0, seconds)
    assert timer.expected(1.0) == 4.0
    assert timer.expected(0.25) == 0.25


def test_step_timer_with_a_coarse_clock():
    timer = StepTimer(1.0)
    for seconds in (0.0, 0.0, 0.1):
        timer.add(1.0, seconds)
    assert 0 < timer.expected(1.0) < 0.1
    assert timer.slowdown >= 1.0


def test_slowdown_ignores_a_single_slow_step():
    timer = StepTimer(1.0)
    assert timer.slowdown == 1.0
    for _ in range(100):
        timer.add(1.0, 0.1)
    assert timer.slowdown == 1.0
    timer.add(1.0, 0.5)  # one step in which the machine stalled
    assert timer.slowdown < 1.3
    for _ in range(100):  # twenty seconds at half the speed
        timer.add(1.0, 0.2)
    assert timer.slowdown == pytest.approx(2.0, abs=0.05)
    for _ in range(60):
        timer.add(1.0, 5.0)
    assert timer.slowdown == pytest.approx(3.0, abs=0.01)  # the maximum
    for _ in range(400):
        timer.add(1.0, 0.1)
    assert timer.slowdown == pytest.approx(1.0, abs=0.05)


def test_slowdown_from_the_first_step_on_with_processor_times():
    timer = StepTimer(1.0)
    for _ in range(200):
        timer.add(1.0, 0.2, 0.1)
    assert timer.slowdown == pytest.approx(2.0, abs=0.05)


def test_excess_of_a_slow_step_decays():
    timer = StepTimer(1.0)
    timer.add(1.0, 5.0)  # the first step includes setup
    assert timer.excess == 0
    for _ in range(50):
        timer.add(1.0, 0.1)
    timer.add(1.0, 2.0)
    assert timer.excess == pytest.approx(1.9, abs=0.05)
    for _ in range(400):
        timer.add(1.0, 0.1)
    assert 0 < timer.excess < 0.5


def test_early_stopping_counts_scores_without_improvement():
    module = nn.Linear(1, 1, bias=False)
    stopping = EarlyStopping(2, every=0.1)
    assert not stopping.due(0.05)
    for fraction, score, stop in [(0.1, 1.0, False), (0.21, 0.5, False), (0.32, 2.0, False), (0.43, 2.0, False)]:
        assert stopping.due(fraction)
        module.weight.data.fill_(score)
        assert stopping.update(score, module, fraction) is stop
        assert not stopping.due(fraction + 0.05)
    assert stopping.update(1.0, module, 0.54)
    assert stopping.restore_best(module)
    assert module.weight.item() == 2.0


@pytest.mark.parametrize(
    ("prediction", "seconds", "due", "scored"),
    [(0.01, 1.0, [6, 96], [6, 96]), (0.2, 1.0, [6], [6]), (0.2, 1.0, [90], []), (0.01, 6.0, [6, 48, 96], [6, 48])],
)
def test_scoring_only_if_it_fits_into_the_remaining_time(
    monkeypatch, images, make_model, prediction, seconds, due, scored
):
    """Of 100 seconds; the first score is expected to take 100 predictions, later ones as long as the slowest so far."""
    clock, model, taken = [0.0], make_model(images), []
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    window = Budget(100, steps=("train",)).window("train")
    window.budget.seconds_per_pass = prediction

    def measure(_) -> float:
        taken.append(clock[0])
        clock[0] += seconds
        return 0.0

    stopping = EarlyStopping(9, Score(measure, passes=100))
    for second in due:
        clock[0] = float(second)
        stopping.should_stop(model, window)
        assert clock[0] <= 100
    assert taken == scored


def test_counted_budgets_skip_no_score(images, make_model):
    window = Budget(epochs=1, steps=("train",)).window("train")
    window.budget.seconds_per_pass = 1e9
    window.budget.charge(epochs=0.99)
    assert EarlyStopping(1, Score(lambda model: float("-inf"), passes=1e9)).should_stop(make_model(images), window)


def test_no_early_stopping_without_a_limit():
    stopping = EarlyStopping(None)
    assert not stopping.due(1.0)
    assert not stopping.restore_best(nn.Linear(1, 1))


def test_checkpoints_are_whole_or_absent(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[Checkpoint.__module__], "_is_state", lambda saved: True)  # two values will do here
    checkpoint = Checkpoint(tmp_path / "train")
    assert checkpoint.load() is None
    assert not checkpoint.due()
    checkpoint.save({"steps": 3, "weights": [torch.ones(2)]})
    monkeypatch.setattr(torch, "save", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save({"steps": 4})
    saved = checkpoint.load()
    assert saved is not None and saved.content["steps"] == 3
    assert [file.name for file in (tmp_path / "train").iterdir()] == ["state.pt"]


def test_without_a_folder_nothing_is_kept():
    checkpoint = Checkpoint(None)
    checkpoint.save({"steps": 1})
    assert checkpoint.load() is None
    assert not checkpoint.due()


@pytest.mark.parametrize(("count", "size"), [(10, 32), (300, 37), (50_000, 500)])
def test_small_data_gets_small_batches_and_fast_devices_large_ones(count, size):
    assert defaults.default_batch_size(count, "cpu") == size
    assert defaults.default_batch_size(count, "cuda:1") == (1000 if size == 500 else size)


def test_batches_are_halved_while_time_is_short():
    long, short = 1000.0, 10.0
    quick, slow = (StepTimes(seconds) for seconds in (0.001, 1.0))

    def size(seconds: float, times: StepTimes, stages: str = "1@1") -> int:
        return defaults.fitting_batch_size(500, seconds, times, compose(Stages.parse(stages)), 32)

    assert size(long, quick) == 500
    assert size(short, quick) == 62
    assert size(long, replace(quick, update=4.7)) == 500  # half of the images would take nearly as long
    assert size(short, replace(quick, update=0.06)) == 62
    assert size(short, slow) == 62
    # 0.4 of the time goes into steps of a sixteenth, so there are seven times as many
    assert size(short, quick, "1@0.5@0.25:0.4,1@1") == 250
    assert size(short, quick, "0.5@1:0.5,1@1") == 62
    assert size(long, quick, "0.25@0.25:0.999,1@1") == 62  # the whole network needs some steps, too


@pytest.mark.parametrize(
    ("share", "full", "side"), [(1.0, 30, 30), (0.75, 32, 24), (0.5, 8, 8), (0.1, 32, 8), (0.7, 32, 24), (0.99, 6, 6)]
)
def test_sides_of_stages(share, full, side):
    assert stage_side(Stage(share), full) == side


def test_small_images_are_cropped_and_large_ones_scaled():
    assert resizing(32, 32) == {}
    assert resizing(24, 32) == {"crop": 24}
    assert resizing(48, 64) == {"resolution": 48}


def _augment(*args, **kwargs) -> Augment:
    return Augment(**defaults.augmentation(*args, **kwargs))


def test_augmentation_is_what_was_asked_for_or_goes_by_the_data():
    few, often = (_augment(Train(), count, mirrored=True, epochs=100) for count in (500, 50_000))
    many = _augment(Train(), 50_000, mirrored=True, epochs=10)
    assert (few.flip, few.shift, few.cutout, few.jitter) == (True, 0.125, 0.25, 0.5)
    assert (often.shift, often.cutout, often.jitter) == (0.125, 0.25, 0.0)
    assert (many.shift, many.cutout, many.jitter) == (0.0625, 0.0, 0.0)
    seldom = _augment(Train(), 500, mirrored=False, epochs=10)
    assert (seldom.flip, seldom.shift, seldom.jitter) == (False, 0.125, 0.0)
    assert [change.mixup for change in (few, often, many, seldom)] == [0.8, 0.0, 0.0, 0.0]
    wanted = Train(flip=True, shift=0.0, cutout=0.5, rotate=5, zoom=0.1, jitter=0.2, mixup=0.3)
    asked = _augment(wanted, 500, mirrored=False, epochs=10)
    assert (asked.jitter, asked.mixup) == (0.2, 0.3)
    assert (asked.flip, asked.shift, asked.cutout, asked.rotate, asked.zoom) == (True, 0.0, 0.5, 5, 0.1)


def test_the_preprocessing_makes_channels_standard(make_images):
    images = make_images(channels=3)
    found = preprocessing(images, mirror=True, tta="flip")
    pixels = images.pixels / 255
    assert found.mean == pytest.approx(pixels.mean((0, 1, 2)), abs=1e-3)
    assert found.std == pytest.approx(pixels.std((0, 1, 2)), abs=1e-3)
    assert (found.resolution, found.channels, found.mirror) == (8, 3, True)


def test_the_model_asked_for_is_built_from_the_seed(images):
    def build(seed: int):
        settings = Train(model="convnet", width=0.25)
        profiler = Profiler(Budget(epochs=1), Context())
        network = choose_network(images, settings, count=60, seconds=None, profiler=profiler)
        return build_network(network, images, settings, seed=seed)

    one, same, other = build(0), build(0), build(1)
    assert (one.name, one.options, one.classes) == ("convnet", {"width": 0.25}, images.classes)
    assert not one.preprocessing.mirror  # these classes differ from their mirror images
    for (name, a), b in zip(one.module.state_dict().items(), same.module.state_dict().values()):
        assert torch.equal(a, b), name
    assert any(not torch.equal(a, c) for a, c in zip(one.module.parameters(), other.module.parameters()))


def _width(images, count: int, seconds: float | None, device: str = "cpu") -> float:
    profiler = Profiler(Budget(1000), Context(device=device))
    return choose_network(images, Train(), count=count, seconds=seconds, profiler=profiler).options["width"]


def test_auto_takes_a_wider_network_where_time_allows(images, monkeypatch):
    monkeypatch.setattr(Profiler, "_measure", lambda *_: Profile("float32", StepTimes(1e-3, 1e-4)))
    widths = [_width(images, 20_000, seconds) for seconds in (1, 180, 400, 1e6)]
    assert widths[0] == 0.25 and widths[-1] == 2.0
    assert widths == sorted(widths) and widths[1] < widths[2]
    assert _width(images, 60, None) == 0.5


@pytest.mark.parametrize(("power", "width"), [(0.0, 2.0), (1.0, 1.0), (2.0, 0.5)])
def test_on_an_accelerator_two_widths_are_timed(images, monkeypatch, power, width):
    timed = []

    def measure(profiler, model, images, settings, size) -> Profile:
        timed.append(model.options["width"])
        return Profile("float32", StepTimes(1e-4 * (timed[-1] / 0.5) ** power, update=0.0001))

    monkeypatch.setattr(Profiler, "_measure", measure)
    monkeypatch.setattr(sys.modules[choose_network.__module__], "count_macs", lambda model: 1000)
    seconds = 160_000 * 2e-4 + 1  # for as many images as few are to be seen, at twice the price
    assert _width(images, 20_000, seconds, device="cuda") == width
    assert timed == [0.5, 2.0]


def test_devices_without_bfloat16_of_their_own_are_timed_in_float16(monkeypatch):
    for able, expected in ((True, ["bfloat16"]), (False, ["float16"])):
        monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation, able=able: able)
        assert profiling._low_precisions("cuda") == expected
    for able, expected in ((True, ["bfloat16"]), (False, [])):
        monkeypatch.setattr(profiling, "_multiplies_bfloat16", lambda able=able: able)
        assert (profiling._low_precisions("cpu"), profiling._low_precisions("mps")) == (expected, [])


def test_the_end_is_known_only_by_a_late_score():
    """Where scores stopped fitting into the time at half of it, the best of them says nothing about the end."""
    stopping, module = EarlyStopping(9, every=0.05), nn.Linear(1, 1)
    stopping.update(1.0, module, 0.5)
    assert not stopping.is_current(1.0)
    stopping.update(0.9, module, 0.93)
    assert stopping.is_current(1.0)
