from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from shoestring.config.model_files import newest_snapshot
from shoestring.config.recipe import Grow, Prune, Recipe, Select, Train
from shoestring.config.serialize import digest
from shoestring.errors import BudgetTooSmall, UserError
from shoestring.models.model import Model
from shoestring.runs import pipeline, session
from shoestring.runs import steps as run_steps
from shoestring.runs.directory import RunDir
from shoestring.runs.extend import reopen
from shoestring.runs.models import usable_model
from shoestring.training import loop
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.early_stopping import EarlyStopping
from shoestring.training.saving import Saver

ANYTIME = Recipe(epochs=2, train=Train(model="convnet", width=0.125, batch_size=30, schedule="anytime"), device="cpu")
LONGER = replace(ANYTIME, epochs=5)
DEADLINE = replace(ANYTIME, train=replace(ANYTIME.train, schedule="deadline"))

pytestmark = pytest.mark.usefixtures("few_digits")


def _run(recipe: Recipe, folder, context, notes: list[str] | None = None) -> dict:
    context = context if notes is None else replace(context, log=notes.append)
    return pipeline.run(recipe, RunDir(folder), context=context)


def _stages(folder) -> list[tuple[float, float]]:
    """Return the image size and width in each training report."""
    return [(row["side"], row["width"]) for row in RunDir(folder).history() if "side" in row]


def test_finished_run_is_extended_with_a_larger_budget(tmp_path, context):
    first, notes = _run(ANYTIME, tmp_path, context), []
    before = Model.load(tmp_path / "train").module.state_dict()
    second = _run(LONGER, tmp_path, context, notes)
    assert any("ended after" in note for note in notes)
    assert any("resuming after 20 steps" in note for note in notes)
    assert second["budget"]["total"] == 5 and second["ledger"]["train"] > first["ledger"]["train"]
    assert RunDir(tmp_path).run["training"]["steps"] == 50
    after = Model.load(tmp_path / "train").module.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert newest_snapshot(tmp_path / "train") is None
    assert _run(LONGER, tmp_path, context, notes) == RunDir(tmp_path).run["result"]
    assert "use a larger budget to extend it" in notes[-1]


def test_extended_run_continues_on_the_longer_learning_rate_schedule(tmp_path, context, monkeypatch):
    monkeypatch.setattr(loop, "_REPORT_SECONDS", -1.0)
    _run(ANYTIME, tmp_path, context)
    before = len(_rates(tmp_path))
    _run(LONGER, tmp_path, context)
    rates = _rates(tmp_path)
    assert rates[0] == 1.0 and rates[before - 1] == 0.0
    assert rates[before] == pytest.approx((0.1 / 0.41) ** 0.75, abs=1e-4)  # two of five epochs and half a step
    assert rates[-1] == 0.0


def _rates(folder) -> list[float]:
    return [row["learning_rate"] for row in RunDir(folder).history() if "learning_rate" in row]


def test_run_can_be_extended_repeatedly(tmp_path, context):
    for epochs in (2, 4, 6):
        _run(replace(ANYTIME, epochs=epochs), tmp_path, context)
    assert RunDir(tmp_path).run["training"]["steps"] == 60


def test_interrupted_run_accepts_a_larger_budget(tmp_path, context, every_step):
    def stop(name: str, fraction: float, values: dict) -> None:
        if name == "train" and fraction > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(ANYTIME, tmp_path, replace(context, on_progress=stop))
    _run(LONGER, tmp_path, context)
    assert RunDir(tmp_path).run["training"]["steps"] == 50


def test_interrupted_extension_has_a_model_and_resumes(tmp_path, context, monkeypatch):
    _run(ANYTIME, tmp_path, context)
    before = Model.load(tmp_path / "train").module.state_dict()
    monkeypatch.setattr(loop, "_REPORT_SECONDS", -1.0)
    monkeypatch.setattr(Checkpoint, "due", lambda self: self.file is not None)

    def stop(name: str, fraction: float, values: dict) -> None:
        if name == "train" and fraction > 0.04:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(LONGER, tmp_path, replace(context, on_progress=stop))
    notes: list[str] = []
    saved = usable_model(tmp_path, notes.append).module.state_dict()
    assert notes and all(torch.equal(before[name], saved[name]) for name in before)
    _run(LONGER, tmp_path, context)
    assert RunDir(tmp_path).run["training"]["steps"] == 50


def test_grown_network_does_not_shrink_when_extended(tmp_path, context, monkeypatch):
    monkeypatch.setattr(loop, "_REPORT_SECONDS", -1.0)
    growing = {"train": replace(ANYTIME.train, width=0.25), "grow": Grow(stages="0.5@1,1@1")}
    _run(replace(ANYTIME, **growing), tmp_path, context)
    before = len(_stages(tmp_path))
    _run(replace(LONGER, **growing), tmp_path, context)
    assert RunDir(tmp_path).run["training"]["grow"] == "0.5@1,1@1"
    assert set(_stages(tmp_path)[:before]) == {(8, 0.5), (8, 1.0)}
    assert set(_stages(tmp_path)[before:]) == {(8, 1.0)}


def test_pruned_run_is_extended_from_before_pruning(tmp_path, context):
    pruning = {"prune": Prune(macs="0.5")}
    first = _run(replace(ANYTIME, epochs=4, **pruning), tmp_path, context)
    second = _run(replace(ANYTIME, epochs=8, **pruning), tmp_path, context)
    assert second["before_pruning"]["macs"] == first["before_pruning"]["macs"] > second["macs"]


def test_extended_run_keeps_its_subset(tmp_path, context):
    selection = {"select": Select("random", 200)}
    _run(replace(ANYTIME, **selection), tmp_path, context)
    written = (tmp_path / "select" / "subset.json").stat().st_mtime_ns
    _run(replace(LONGER, **selection), tmp_path, context)
    assert (tmp_path / "select" / "subset.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        (LONGER, ANYTIME, "extended, not shortened"),
        (ANYTIME, replace(LONGER, epochs=None, time="60s"), "another run"),
        (ANYTIME, replace(LONGER, seed=1), "another run"),
        (DEADLINE, replace(DEADLINE, epochs=5), "another run"),
    ],
)
def test_run_that_cannot_be_extended_is_refused(tmp_path, context, before, after, message):
    _run(before, tmp_path, context)
    with pytest.raises(UserError, match=message):
        _run(after, tmp_path, context)
    assert "result" in RunDir(tmp_path).run


def test_reopening_a_run_is_idempotent(tmp_path, context):
    _run(ANYTIME, tmp_path, context)
    reopen(RunDir(tmp_path))
    snapshot = newest_snapshot(tmp_path / "train")
    reopen(RunDir(tmp_path))
    assert snapshot == newest_snapshot(tmp_path / "train") is not None


@pytest.mark.parametrize("prune", [Prune(), Prune(macs="0.5")])
def test_extension_that_is_too_small_is_refused_and_changes_nothing(tmp_path, context, prune):
    _run(replace(ANYTIME, epochs=4, prune=prune), tmp_path, context)
    before = _files(tmp_path)
    with pytest.raises(BudgetTooSmall, match="The least that works"):
        _run(replace(ANYTIME, epochs=4.05, prune=prune), tmp_path, context)
    assert _files(tmp_path) == before


def test_extension_with_changed_images_changes_nothing(tmp_path, context, monkeypatch):
    _run(ANYTIME, tmp_path, context)
    before, load = _files(tmp_path), session.load
    monkeypatch.setattr(session, "load", lambda *args, **kwargs: _without_one(load(*args, **kwargs)))
    with pytest.raises(UserError, match="have changed"):
        _run(LONGER, tmp_path, context)
    assert _files(tmp_path) == before


def _without_one(data):
    return replace(data, train=data.train[:-1])


def _files(folder) -> dict:
    """Return the contents of all files except the history."""
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != "history.jsonl"}


def test_extended_run_resets_early_stopping(tmp_path, context, monkeypatch):
    patient = {"train": replace(ANYTIME.train, patience=2)}
    stops: list[bool] = []

    def update(self, score, module, fraction) -> bool:
        stops.append(original(self, -1.0 if self._weights else score, module, fraction))  # never better than the first
        return stops[-1]

    original = EarlyStopping.update
    monkeypatch.setattr(EarlyStopping, "update", update)
    _run(replace(ANYTIME, **patient), tmp_path, context)
    assert stops == [False, False, True]
    _run(replace(LONGER, epochs=12, **patient), tmp_path, context)
    assert stops[3:] == [False, True]


@pytest.mark.parametrize("interrupted", ["evaluate", "prune"])
def test_run_interrupted_after_training_is_trained_further(tmp_path, context, monkeypatch, interrupted):
    pruning = {"prune": Prune(macs="0.5"), "epochs": 4}
    with monkeypatch.context() as patch:
        patch.setattr(run_steps, interrupted, _interrupt)
        with pytest.raises(KeyboardInterrupt):
            _run(replace(ANYTIME, **pruning), tmp_path, context)
    steps = RunDir(tmp_path).run["training"]["steps"]
    _run(replace(ANYTIME, **{**pruning, "epochs": 8}), tmp_path, context)
    assert RunDir(tmp_path).run["training"]["steps"] > steps


def _interrupt(*_) -> None:
    raise KeyboardInterrupt


def test_training_killed_at_its_end_is_not_repeated(tmp_path, context, monkeypatch):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    _run(ANYTIME, whole, context)
    with monkeypatch.context() as patch:
        patch.setattr(Saver, "end", _end_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            _run(ANYTIME, killed, context)
    _run(ANYTIME, killed, context)
    one, other = (RunDir(folder).run["training"] for folder in (whole, killed))
    weights = [Model.load(folder / "train").module.state_dict() for folder in (whole, killed)]
    assert one["steps"] == other["steps"]
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())


_END = Saver.end


def _end_and_interrupt(self: Saver, **kwargs) -> None:
    _END(self, **kwargs)
    raise KeyboardInterrupt


def test_default_budget_can_be_extended(tmp_path, context):
    _run(replace(ANYTIME, epochs=None), tmp_path, context)
    _run(replace(ANYTIME, epochs=12), tmp_path, context)
    assert RunDir(tmp_path).run["training"]["steps"] == 120


def test_only_an_extendable_run_has_a_name_without_its_budget():
    assert digest(ANYTIME) == digest(LONGER)
    assert len({digest(replace(r, train=Train())) for r in (ANYTIME, LONGER)}) == 2
