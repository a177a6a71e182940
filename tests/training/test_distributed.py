from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from shoestring.training.distributed import _has_unused_parameters

CASES = Path(__file__).with_name("distributed_cases.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


def start(*words: str) -> subprocess.Popen:
    """Two processes, started by torchrun."""
    around = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    return subprocess.Popen([*TORCHRUN, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=around)


def train(out: Path) -> subprocess.Popen:
    net = ("--model", "simplecnn", "--width", "0.25", "--grow", "resolution,width", "--device", "cpu")
    return start("-m", "shoestring", "train", "digits", *net, "--epochs", "30", "--out", str(out), "--json")


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The weights that each process of a case ended with, and those of one process alone."""
    folder = tmp_path_factory.mktemp("team")
    process = start(str(CASES), str(folder))
    _, error = process.communicate()
    assert process.returncode == 0, error
    return lambda case, which: torch.load(folder / f"{case}-{which}.pt")


@pytest.mark.parametrize("case", ["plain", "grown", "astray", "normed"])
def test_all_processes_have_the_same_weights(weights, case):
    first, second = weights(case, 0), weights(case, 1)
    assert first.keys() == second.keys()
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())


@pytest.mark.parametrize("case", ["plain", "grown", "astray"])
def test_without_batch_norm_they_are_those_of_one_process(weights, case):
    team, alone = weights(case, 0), weights(case, "alone")
    for name, weight in alone.items():
        torch.testing.assert_close(team[name], weight, rtol=0, atol=1e-4)


def test_a_run_is_one_and_goes_on_the_same_after_an_interruption(tmp_path: Path) -> None:
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    process = train(whole)
    out, error = process.communicate()
    assert process.returncode == 0, error
    result = json.loads(out)  # printed once
    assert result["accuracy"] > 0.6
    assert error.count("1,294 train") == 1

    process = train(cut)
    while not (cut / "train" / "state.pt").exists():
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, error = process.communicate()
    assert process.returncode != 0
    assert "saved a snapshot" in error
    assert "result" not in json.loads((cut / "run.json").read_text())

    process = train(cut)
    _, error = process.communicate()
    assert process.returncode == 0, error
    assert "resuming after" in error
    one, other = (load_file(path / "train" / "model.safetensors") for path in (whole, cut))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cut", "whole"]


def test_weights_that_take_no_part_are_found() -> None:
    class Partly(nn.Sequential):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self[0](images)

    frozen = nn.Linear(3, 2).requires_grad_(False)
    few = torch.zeros(2, 3)
    assert _has_unused_parameters(Partly(nn.Linear(3, 2), nn.Linear(3, 2)), few)
    assert not _has_unused_parameters(Partly(nn.Linear(3, 2), frozen), few)
