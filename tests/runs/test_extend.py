from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from shoestring.config.recipe import Grow, Prune, Recipe, Select, Train, digest
from shoestring.errors import BudgetTooSmall, UserError
from shoestring.models.model import Model
from shoestring.runs import pipeline, session, stages
from shoestring.runs.directory import RunDir
from shoestring.runs.extend import reopen
from shoestring.runs.models import usable_model
from shoestring.training import loop
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.early_stopping import EarlyStopping
from shoestring.training.saving import Saver
from shoestring.training.snapshots import newest

ANYTIME = Recipe(epochs=2, train=Train(model="convnet", width=0.125, batch_size=30, schedule="anytime"), device="cpu")
LONGER = replace(ANYTIME, epochs=5)
DEADLINE = replace(ANYTIME, train=replace(ANYTIME.train, schedule="deadline"))

pytestmark = pytest.mark.usefixtures("few_digits")


def _run(recipe: Recipe, folder, context, notes: list[str] | None = None) -> dict:
    around = context if notes is None else replace(context, log=notes.append)
    return pipeline.run(recipe, RunDir(folder), context=around)


def _stages(folder) -> list[tuple[float, float]]:
    """Side and width of each report of the training."""
    return [(row["side"], row["width"]) for row in RunDir(folder).history() if "side" in row]


def test_a_finished_run_goes_on_with_more_to_spend(tmp_path, context):
    first, notes = _run(ANYTIME, tmp_path, context), []
    before = Model.load(tmp_path / "train").module.state_dict()
    second = _run(LONGER, tmp_path, context, notes)
    assert any("ended after" in note for note in notes)
    assert any("resuming after 20 steps" in note for note in notes)
    assert second["budget"]["total"] == 5 and second["ledger"]["train"] > first["ledger"]["train"]
    assert RunDir(tmp_path).run["training"]["steps"] == 50
    after = Model.load(tmp_path / "train").module.state_dict()
    assert any(not torch.equal(before[name], after[name]) for name in before)
    assert newest(tmp_path / "train") is None
    assert _run(LONGER, tmp_path, context, notes) == RunDir(tmp_path).run["result"]
    assert "use a larger budget to extend it" in notes[-1]


def test_its_learning_rate_goes_on_from_where_the_longer_schedule_is_by_then(tmp_path, context, monkeypatch):
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


def test_it_can_be_extended_again_and_again(tmp_path, context):
    for epochs in (2, 4, 6):
        _run(replace(ANYTIME, epochs=epochs), tmp_path, context)
    assert RunDir(tmp_path).run["training"]["steps"] == 60


def test_an_interrupted_run_takes_the_larger_budget_too(tmp_path, context, monkeypatch):
    monkeypatch.setattr(Checkpoint, "due", lambda self: self.file is not None)
    monkeypatch.setattr(loop, "_REPORT_SECONDS", -1.0)

    def stop(name: str, fraction: float, values: dict) -> None:
        if name == "train" and fraction > 0.4:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _run(ANYTIME, tmp_path, replace(context, on_progress=stop))
    _run(LONGER, tmp_path, context)
    assert RunDir(tmp_path).run["training"]["steps"] == 50


def test_while_it_goes_on_there_is_a_model_and_the_same_command_resumes(tmp_path, context, monkeypatch):
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
    held = usable_model(tmp_path, notes.append).module.state_dict()
    assert notes and all(torch.equal(before[name], held[name]) for name in before)
    _run(LONGER, tmp_path, context)
    assert RunDir(tmp_path).run["training"]["steps"] == 50


def test_what_has_grown_does_not_shrink_again(tmp_path, context, monkeypatch):
    monkeypatch.setattr(loop, "_REPORT_SECONDS", -1.0)
    growing = {"train": replace(ANYTIME.train, width=0.25), "grow": Grow(stages="0.5@1,1@1")}
    _run(replace(ANYTIME, **growing), tmp_path, context)
    before = len(_stages(tmp_path))
    _run(replace(LONGER, **growing), tmp_path, context)
    assert RunDir(tmp_path).run["training"]["grow"] == "0.5@1,1@1"
    assert set(_stages(tmp_path)[:before]) == {(8, 0.5), (8, 1.0)}
    assert set(_stages(tmp_path)[before:]) == {(8, 1.0)}


def test_a_cut_run_goes_on_from_before_the_cut(tmp_path, context):
    cut = {"prune": Prune(macs="0.5")}
    first = _run(replace(ANYTIME, epochs=4, **cut), tmp_path, context)
    second = _run(replace(ANYTIME, epochs=8, **cut), tmp_path, context)
    assert second["before_pruning"]["macs"] == first["before_pruning"]["macs"] > second["macs"]


def test_chosen_images_stay_chosen(tmp_path, context):
    chosen = {"select": Select("random", 200)}
    _run(replace(ANYTIME, **chosen), tmp_path, context)
    written = (tmp_path / "select" / "subset.json").stat().st_mtime_ns
    _run(replace(LONGER, **chosen), tmp_path, context)
    assert (tmp_path / "select" / "subset.json").stat().st_mtime_ns == written


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        (LONGER, ANYTIME, "extended, not shortened"),
        (ANYTIME, replace(LONGER, epochs=None, time="60s"), "another run"),
        (ANYTIME, replace(LONGER, seed=1), "another run"),
        (DEADLINE, replace(DEADLINE, epochs=5), "another run"),
    ],
)
def test_what_cannot_go_on_is_refused(tmp_path, context, before, after, told):
    _run(before, tmp_path, context)
    with pytest.raises(UserError, match=told):
        _run(after, tmp_path, context)
    assert "result" in RunDir(tmp_path).run


def test_a_run_is_reopened_twice_without_harm(tmp_path, context):
    _run(ANYTIME, tmp_path, context)
    reopen(RunDir(tmp_path))
    snapshot = newest(tmp_path / "train")
    reopen(RunDir(tmp_path))
    assert snapshot == newest(tmp_path / "train") is not None


@pytest.mark.parametrize("cut", [Prune(), Prune(macs="0.5")])
def test_a_little_more_is_refused_and_changes_nothing(tmp_path, context, cut):
    _run(replace(ANYTIME, epochs=4, prune=cut), tmp_path, context)
    before = _files(tmp_path)
    with pytest.raises(BudgetTooSmall, match="The least that works"):
        _run(replace(ANYTIME, epochs=4.05, prune=cut), tmp_path, context)
    assert _files(tmp_path) == before


def test_with_other_images_nothing_is_touched(tmp_path, context, monkeypatch):
    _run(ANYTIME, tmp_path, context)
    before, load = _files(tmp_path), session.load
    monkeypatch.setattr(session, "load", lambda *args, **more: _without_one(load(*args, **more)))
    with pytest.raises(UserError, match="have changed"):
        _run(LONGER, tmp_path, context)
    assert _files(tmp_path) == before


def _without_one(data):
    return replace(data, train=data.train[:-1])


def _files(folder) -> dict:
    """All files but the history, and what they hold."""
    return {file: file.read_bytes() for file in folder.rglob("*") if file.is_file() and file.name != "history.jsonl"}


def test_with_patience_the_longer_run_counts_anew(tmp_path, context, monkeypatch):
    patient = {"train": replace(ANYTIME.train, patience=2)}
    looks: list[bool] = []

    def over(self, score, module, fraction) -> bool:
        looks.append(seen(self, -1.0 if self._weights else score, module, fraction))  # never better than the first
        return looks[-1]

    seen = EarlyStopping.update
    monkeypatch.setattr(EarlyStopping, "update", over)
    _run(replace(ANYTIME, **patient), tmp_path, context)
    assert looks == [False, False, True]
    _run(replace(LONGER, epochs=12, **patient), tmp_path, context)
    assert looks[3:] == [False, True]


@pytest.mark.parametrize("interrupted", ["evaluate", "prune"])
def test_what_was_interrupted_after_its_training_is_trained_on(tmp_path, context, monkeypatch, interrupted):
    cut = {"prune": Prune(macs="0.5"), "epochs": 4}
    with monkeypatch.context() as patch:
        patch.setattr(stages, interrupted, _interrupt)
        with pytest.raises(KeyboardInterrupt):
            _run(replace(ANYTIME, **cut), tmp_path, context)
    steps = RunDir(tmp_path).run["training"]["steps"]
    _run(replace(ANYTIME, **{**cut, "epochs": 8}), tmp_path, context)
    assert RunDir(tmp_path).run["training"]["steps"] > steps


def _interrupt(*_) -> None:
    raise KeyboardInterrupt


def test_a_training_that_was_killed_at_its_very_end_is_not_trained_twice(tmp_path, context, monkeypatch):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    _run(ANYTIME, whole, context)
    with monkeypatch.context() as patch:
        patch.setattr(Saver, "end", _ended_and_killed)
        with pytest.raises(KeyboardInterrupt):
            _run(ANYTIME, cut, context)
    _run(ANYTIME, cut, context)
    one, other = (RunDir(folder).run["training"] for folder in (whole, cut))
    weights = [Model.load(folder / "train").module.state_dict() for folder in (whole, cut)]
    assert one["steps"] == other["steps"]
    assert all(torch.equal(weight, weights[1][name]) for name, weight in weights[0].items())


_END = Saver.end


def _ended_and_killed(self: Saver, **more) -> None:
    _END(self, **more)
    raise KeyboardInterrupt


def test_the_usual_budget_can_be_extended_too(tmp_path, context):
    _run(replace(ANYTIME, epochs=None), tmp_path, context)
    _run(replace(ANYTIME, epochs=12), tmp_path, context)
    assert RunDir(tmp_path).run["training"]["steps"] == 120


def test_only_a_run_that_can_be_extended_has_a_name_without_its_budget():
    assert digest(ANYTIME) == digest(LONGER)
    assert len({digest(replace(r, train=Train())) for r in (ANYTIME, LONGER)}) == 2
