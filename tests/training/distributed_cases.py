"""Distributed trainings for test_distributed.py: each process saves its final weights and output in a folder.

Run by torchrun, once, because the processes take longer to start than to train; the first one then trains the same
cases alone.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from torch import distributed

from shoestring.budget import Budget
from shoestring.cli.distributed import prepare_all
from shoestring.cli.main import main as run_command
from shoestring.config.recipe import Train
from shoestring.data import load
from shoestring.growth.compose import compose
from shoestring.models.model import Model, build
from shoestring.models.preprocessing import Preprocessing
from shoestring.runtime import signals
from shoestring.runtime.context import Context
from shoestring.runtime.distributed import Distributed, process_group, rank
from shoestring.training.checkpoint import Checkpoint
from shoestring.training.distributed import Worker
from shoestring.training.progress import TrainingState
from trainings import fit

PLAIN = {"flip": False, "shift": 0.0, "cutout": 0.0}
SETTINGS = Train(batch_size=33, ema=False, precision="float32", **PLAIN)  # 33: one process gets an image more
CASES = {
    "plain": ({}, compose("constant", {})),
    "grown": ({}, compose("resolution,width", {})),
    "diverged": ({}, compose("width", {})),
    "resized": ({}, compose("constant", {})),
    "normed": ({"norm": True}, compose("constant", {})),
}


NET = ("--model", "simplecnn", "--width", "0.25", "--grow", "resolution,width", "--device", "cpu")
COMMAND = ("train", "digits", *NET, "--epochs", "12", "--json", "--out")


def main(folder: Path) -> None:
    """Train all cases in the job, then in one process, and run the command whole, interrupted and resumed."""
    (folder / f"{rank()}.pid").write_text(str(os.getpid()))
    with process_group() as job:
        assert job is not None
        machine = {"device": "cpu", "seed": 3}
        context = prepare_all(machine if job.rank == 0 else job.receive(), job)
        for name in CASES:
            if job.rank == 0:
                trained = train(name, context, job)
            else:
                worker = Worker(job, context)
                worker.run()
                assert worker._state is not None
                trained = worker._state.model
            save(trained, folder / f"{name}-{job.rank}.pt")
        if job.rank > 0:
            assert job.receive() is None  # the end of this group
    if job.rank == 0:
        for name in CASES:
            alone = train(name, replace(context, distributed=None), None)
            save(alone, folder / f"{name}-alone.pt")
    codes = {name: run_in_team(name, folder) for name in ("whole", "interrupted", "resumed")}
    if rank() == 0:
        (folder / "codes.json").write_text(json.dumps(codes))


def run_in_team(name: str, folder: Path) -> int:
    """Run the command in a new group of processes; return its exit code."""
    place = {"init_method": f"file://{folder / name}.group", "rank": rank(), "world_size": 2}
    join = partial(distributed.init_process_group, **place)  # torchrun's own place is taken by the first group
    out, error = (folder / f"{name}-{rank()}.{kind}" for kind in ("out", "err"))
    write = Checkpoint.save

    def interrupt(self: Checkpoint, content: dict) -> None:
        write(self, content)
        if content["counted"] > 4:
            for number in (1, 0):  # as torchrun does
                os.kill(int((folder / f"{number}.pid").read_text()), signal.SIGTERM)

    with (
        out.open("w") as printed,
        error.open("w") as logged,
        redirect_stdout(printed),
        redirect_stderr(logged),
        patch.object(distributed, "init_process_group", join),
        patch.object(Checkpoint, "due", lambda self: self.file is not None),
        patch.object(Checkpoint, "save", interrupt if name == "interrupted" else write),
        patch.object(signals, "GRACE_SECONDS", 0.2),
    ):
        return run_command([*COMMAND, str(folder / ("whole" if name == "whole" else "cut"))])


def train(name: str, context: Context, job: Distributed | None) -> Model:
    """Two epochs on digits, as the first process; "diverged" with a loss that is no number once."""
    options, schedule = CASES[name]
    images = load("digits").train
    if name == "resized":
        images = images.resized(6)
    images = images[range(300)]
    torch.manual_seed(1)  # with 0 a maximum over equal pixels changes sides by rounding
    size = Preprocessing(8, 1, (0.3,), (0.25,))
    model = build(
        "convnet", classes=images.classes, preprocessing=size, options={"width": 0.25, "norm": False} | options
    )
    window = Budget(epochs=2, steps=("train",)).window("train")
    more = {"schedule": schedule}
    if job is not None:
        job.broadcast(("load", {"source": "digits"}))
        if name == "resized":
            job.broadcast(("resize", 6))
    step = TrainingState.step

    def strange(state: TrainingState, factor: float, **more: float) -> torch.Tensor:
        loss = step(state, factor, **more)
        return loss * float("nan") if state.steps == 6 and not state.stepper.rollbacks else loss

    if name == "diverged":
        TrainingState.step = strange
    fit(model, images, window, settings=SETTINGS, context=context, **more)
    TrainingState.step = step
    if job is not None:
        job.broadcast(None)
    return model


def save(model: Model, file: Path) -> None:
    """Weights by name."""
    torch.save({name: weight.detach() for name, weight in model.module.named_parameters()}, file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
