from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from shoestring.training.distributed import _has_unused_parameters

CASES = Path(__file__).with_name("distributed_cases.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


@pytest.fixture(scope="module")
def team(tmp_path_factory) -> Path:
    """The folder in which two processes, started by torchrun, have left what `distributed_cases.py` says."""
    folder = tmp_path_factory.mktemp("team")
    around = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([*TORCHRUN, str(CASES), str(folder)], capture_output=True, text=True, env=around)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def weights(team):
    """The weights that each process of a case ended with, and those of one process alone."""
    return lambda case, which: torch.load(team / f"{case}-{which}.pt")


@pytest.mark.parametrize("case", ["plain", "grown", "astray", "resized", "normed"])
def test_all_processes_have_the_same_weights(weights, case):
    first, second = weights(case, 0), weights(case, 1)
    assert first.keys() == second.keys()
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())


@pytest.mark.parametrize("case", ["plain", "grown", "astray", "resized"])
def test_without_batch_norm_they_are_those_of_one_process(weights, case):
    team, alone = weights(case, 0), weights(case, "alone")
    for name, weight in alone.items():
        torch.testing.assert_close(team[name], weight, rtol=0, atol=1e-4)


def test_a_run_is_one_and_goes_on_the_same_after_an_interruption(team: Path) -> None:
    printed, logged = (
        {name: (team / f"{name}-0.{kind}").read_text() for name in ("whole", "interrupted", "resumed")}
        for kind in ("out", "err")
    )
    assert json.loads((team / "codes.json").read_text()) == {"whole": 0, "interrupted": 130, "resumed": 0}
    assert not any((team / f"{name}-1.{kind}").read_text() for name in printed for kind in ("out", "err"))
    assert json.loads(printed["whole"])["accuracy"] > 0.6  # printed once
    assert logged["whole"].count("1,294 train") == 1
    assert "saved a snapshot" in logged["interrupted"] and not printed["interrupted"]
    assert "resuming after" in logged["resumed"]
    one, other = (load_file(team / name / "train" / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert {path.name for path in team.iterdir() if path.is_dir()} == {"cut", "whole"}


def test_weights_that_take_no_part_are_found() -> None:
    class Partly(nn.Sequential):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self[0](images)

    frozen = nn.Linear(3, 2).requires_grad_(False)
    few = torch.zeros(2, 3)
    assert _has_unused_parameters(Partly(nn.Linear(3, 2), nn.Linear(3, 2)), few)
    assert not _has_unused_parameters(Partly(nn.Linear(3, 2), frozen), few)
