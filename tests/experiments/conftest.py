from __future__ import annotations

import contextlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from shoestring.cli.main import main
from shoestring.config.recipe import Recipe
from shoestring.config.serialize import to_yaml
from shoestring.experiments import run as module
from shoestring.experiments.processes import Processes
from shoestring.reporting import experiment
from shoestring.runs import session
from shoestring.runtime.files import write_text


class InProcess(Processes):
    """Runs in this process, one after the other: `codes` of finished ones, `started` names of all."""

    started: list[str] = []

    def start(self, name: str, recipe: Recipe) -> None:
        """Run the command line, as a process would."""
        InProcess.started.append(name)
        file = self.folder / "recipes" / f"{name}.yaml"
        write_text(file, to_yaml(recipe))
        out = io.StringIO()
        with contextlib.redirect_stderr(out), contextlib.redirect_stdout(out):
            code = main(["run", "--recipe", str(file), "--out", str(self.folder / "trials" / name)])
        write_text(self.folder / "logs" / f"{name}.txt", out.getvalue())
        self._codes = {**getattr(self, "_codes", {}), name: code}

    @property
    def free(self) -> bool:
        """Whether another run may be started."""
        return len(getattr(self, "_codes", {})) < self.count

    def finished(self) -> dict[str, int]:
        """Return the exit codes."""
        codes, self._codes = getattr(self, "_codes", {}), {}
        return codes

    def interrupt(self, grace: float = 0.0) -> None:
        """Forget all runs."""
        self._codes = {}


@pytest.fixture
def in_process(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Run experiments without processes and charts; return the names of the runs that are started."""
    monkeypatch.setattr(experiment, "_charts", lambda result: [])
    InProcess.started = []
    monkeypatch.setattr(module, "Processes", InProcess)
    monkeypatch.setattr(session, "_MAX_TIMING_RESERVE", 0.01)
    return InProcess.started


@pytest.fixture
def data(tmp_path: Path, make_images: Callable) -> str:
    """A file of 90 training and 30 test images."""
    images, test = make_images(90), make_images(30, seed=1)
    arrays = {"images": images.pixels, "labels": images.targets, "test_images": test.pixels}
    np.savez(tmp_path / "data.npz", **arrays, test_labels=test.targets)
    return str(tmp_path / "data.npz")
