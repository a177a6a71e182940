from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import pytest

from shoestring.cli.main import main
from shoestring.config.recipe import Recipe, Select, Train
from shoestring.runs import pipeline
from shoestring.runs.directory import RunDir
from shoestring.training.snapshots import Snapshots

NETWORK = Train(model="simplecnn", width=0.25, batch_size=8)
RECIPE = Recipe(epochs=2, select=Select("random", 100), train=NETWORK, device="cpu")


def _interrupt(folder: RunDir, context, step: str, count: int = 1) -> None:
    """Run the recipe until a step has reported its progress so many times."""
    seen = []

    def on_progress(name, *_):
        seen.append(name)
        if seen.count(step) == count:
            raise KeyboardInterrupt

    with contextlib.suppress(KeyboardInterrupt):
        pipeline.run(RECIPE, folder, context=replace(context, on_progress=on_progress))


@pytest.fixture
def unfinished(context, tmp_path, every_step, monkeypatch) -> RunDir:
    """A run that was interrupted in the middle of its training, with a snapshot."""
    monkeypatch.setattr(Snapshots, "due", lambda self, fraction: self.folder is not None)
    folder = RunDir(tmp_path / "unfinished")
    _interrupt(folder, context, "train", 12)
    return folder


def test_unfinished_run_has_a_partial_page(unfinished, capsys):
    unfinished.append_history(seconds=2.0, step="train", fraction=0.5, validation=0.625)
    assert main(["report", str(unfinished.path), "--quiet"]) == 0
    assert "is not finished: validation accuracy 62.5 % so far" in capsys.readouterr().out
    page = (unfinished / "report" / "index.html").read_text()
    assert "Not finished:" in page and "Chosen images, beside what was left out" in page and "cosine" in page
    assert 'id="classes"' not in page and "None" not in page
    assert "result" not in unfinished.run and not (unfinished / "evaluate").exists()


def test_partial_report_as_json(unfinished, capsys):
    assert main(["report", str(unfinished.path), "--quiet", "--json"]) == 0
    known = json.loads(capsys.readouterr().out)
    assert known["unfinished"] and known["accuracy"] is None and known["examples"] == 100


def test_finishing_the_run_replaces_the_partial_page(unfinished, context, capsys):
    assert main(["report", str(unfinished.path), "--quiet"]) == 0
    pipeline.run(RECIPE, unfinished, context=context)
    assert "Not finished" not in (unfinished / "report" / "index.html").read_text()


def test_page_of_a_run_that_was_trained_but_not_evaluated(context, tmp_path, monkeypatch, capsys):
    folder = RunDir(tmp_path / "run")

    def fail(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, contextlib.suppress(KeyboardInterrupt):
        patch.setattr(pipeline.steps, "evaluate", fail)
        pipeline.run(RECIPE, folder, context=context)
    assert main(["report", str(folder.path), "--quiet"]) == 0
    assert "Not finished:" in (folder / "report" / "index.html").read_text()


def test_without_a_network_there_is_one_line(context, tmp_path, capsys, every_step):
    folder = RunDir(tmp_path / "run")
    _interrupt(folder, context, "train")
    assert main(["report", str(folder.path), "--quiet"]) == 2
    error = capsys.readouterr().err
    assert "is not a finished run: repeat the command" in error and error.count("\n") == 1
    assert not (folder / "report").exists()
