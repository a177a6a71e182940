from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from shoestring.data.images import Dataset
from shoestring.errors import UserError
from shoestring.runtime.context import Context
from shoestring.runtime.distributed import Distributed
from shoestring.training import distributed as training
from shoestring.training.distributed import Worker, _has_unused_parameters

CASES = Path(__file__).with_name("distributed_cases.py")
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
pytestmark = pytest.mark.skipif(os.name != "posix", reason="needs POSIX signals")


@pytest.fixture(scope="module")
def job(tmp_path_factory) -> Path:
    """The folder in which two processes, started by torchrun, have left the files of `distributed_cases.py`."""
    folder = tmp_path_factory.mktemp("job")
    around = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([*TORCHRUN, str(CASES), str(folder)], capture_output=True, text=True, env=around)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def weights(job):
    """The weights that each process of a case ended with, and those of one process alone."""
    return lambda case, which: torch.load(job / f"{case}-{which}.pt")


@pytest.mark.parametrize("case", ["plain", "grown", "diverged", "resized", "normed"])
def test_all_processes_have_the_same_weights(weights, case):
    first, second = weights(case, 0), weights(case, 1)
    assert first.keys() == second.keys()
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())


@pytest.mark.parametrize("case", ["plain", "grown", "diverged", "resized"])
def test_without_batch_norm_they_are_those_of_one_process(weights, case):
    job, alone = weights(case, 0), weights(case, "alone")
    for name, weight in alone.items():
        torch.testing.assert_close(job[name], weight, rtol=0, atol=1e-4)


def test_a_distributed_run_has_one_output_and_resumes_to_the_same_result(job: Path) -> None:
    printed, logged = (
        {name: (job / f"{name}-0.{kind}").read_text() for name in ("whole", "interrupted", "resumed")}
        for kind in ("out", "err")
    )
    assert json.loads((job / "codes.json").read_text()) == {"whole": 0, "interrupted": 130, "resumed": 0}
    assert not any((job / f"{name}-1.{kind}").read_text() for name in printed for kind in ("out", "err"))
    assert json.loads(printed["whole"])["accuracy"] > 0.6  # printed once
    assert logged["whole"].count("1,294 train") == 1
    assert "saved a snapshot" in logged["interrupted"] and not printed["interrupted"]
    assert "resuming after" in logged["resumed"]
    one, other = (load_file(job / name / "train" / "model.safetensors") for name in ("whole", "cut"))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
    assert {path.name for path in job.iterdir() if path.is_dir()} == {"cut", "whole"}


@pytest.fixture
def worker(images, monkeypatch) -> Worker:
    """A worker that has loaded the images."""
    monkeypatch.setattr(training, "load", lambda **_: Dataset.of(images))
    worker = Worker(Distributed(rank=1, size=2, local_rank=1), Context())
    worker._load({})
    return worker


def test_a_worker_resizes_the_images_that_it_has_loaded(images, worker):
    for side in (4, 6):  # planned again
        worker._resize(side)
        own, small = images.resized(side)[10:30], images.resized(side)
        found = worker._images_like({"rows": own.rows, "fingerprint": own.fingerprint, "shape": own.shape})
        assert np.array_equal(found.pixels, small.pixels[10:30]) and np.array_equal(found.targets, own.targets)


def test_a_worker_without_the_images_of_rank_0_is_refused(images, worker):
    own = images[10:30]
    message = {"rows": own.rows, "fingerprint": own.fingerprint, "shape": own.shape}
    assert len(worker._images_like(message)) == 20
    others = ({"shape": (6, 6, 1)}, {"fingerprint": "another"}, {"rows": own.rows + 40})
    for other in others:
        with pytest.raises(UserError, match="differ from those of rank 0"):
            worker._images_like({**message, **other})


def test_unused_weights_are_found() -> None:
    class Partly(nn.Sequential):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self[0](images)

    frozen = nn.Linear(3, 2).requires_grad_(False)
    few = torch.zeros(2, 3)
    assert _has_unused_parameters(Partly(nn.Linear(3, 2), nn.Linear(3, 2)), few)
    assert not _has_unused_parameters(Partly(nn.Linear(3, 2), frozen), few)
