"""Distributed trainings for test_distributed.py: each process saves its final weights in a folder.

Run by torchrun; the first process then trains the same alone.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import torch

from shoestring.budget import Budget
from shoestring.cli.distributed import prepare_all
from shoestring.config.recipe import Train
from shoestring.data import load
from shoestring.growth.compose import compose
from shoestring.models.model import Model, build
from shoestring.models.preprocessing import Preprocessing
from shoestring.runtime.context import Context
from shoestring.runtime.distributed import Distributed, process_group
from shoestring.training.distributed import Worker
from shoestring.training.progress import TrainingState
from trainings import fit

PLAIN = {"flip": False, "shift": 0.0, "cutout": 0.0}
SETTINGS = Train(batch_size=33, ema=False, precision="float32", **PLAIN)  # 33: one process gets an image more
CASES = {
    "plain": ({}, compose("constant", {})),
    "grown": ({}, compose("resolution,width", {})),
    "astray": ({}, compose("width", {})),
    "normed": ({"norm": True}, compose("constant", {})),
}


def main(folder: Path) -> None:
    """Train all cases with the team, then all of them alone."""
    with process_group() as team:
        assert team is not None
        machine = {"device": "cpu", "seed": 3}
        context = prepare_all(machine if team.rank == 0 else team.receive(), team)
        for name, (options, schedule) in CASES.items():
            if team.rank == 0:
                trained = train(options, schedule, context, team, astray=name == "astray")
            else:
                worker = Worker(team, context)
                worker.run()
                assert worker._state is not None
                trained = worker._state.model
            save(trained, folder / f"{name}-{team.rank}.pt")
    if team.rank == 0:
        for name, (options, schedule) in CASES.items():
            alone = train(options, schedule, replace(context, distributed=None), None, astray=name == "astray")
            save(alone, folder / f"{name}-alone.pt")


def train(options: dict, schedule, context: Context, team: Distributed | None, *, astray: bool) -> Model:
    """Two epochs on digits, as the first process; `astray` with a loss that is no number once."""
    images = load("digits").train[range(300)]
    torch.manual_seed(1)  # with 0 a maximum over equal pixels changes sides by rounding
    size = Preprocessing(8, 1, (0.3,), (0.25,))
    model = build(
        "convnet", classes=images.classes, preprocessing=size, options={"width": 0.25, "norm": False} | options
    )
    window = Budget(epochs=2, steps=("train",)).window("train")
    more = {"schedule": schedule}
    if team is not None:
        team.broadcast(("load", {"source": "digits"}))
    step = TrainingState.step

    def strange(state: TrainingState, factor: float, **more: float) -> torch.Tensor:
        loss = step(state, factor, **more)
        return loss * float("nan") if state.steps == 6 and not state.stepper.rollbacks else loss

    if astray:
        TrainingState.step = strange
    fit(model, images, window, settings=SETTINGS, context=context, **more)
    TrainingState.step = step
    if team is not None:
        team.broadcast(None)
    return model


def save(model: Model, file: Path) -> None:
    """Weights by name."""
    torch.save({name: weight.detach() for name, weight in model.module.named_parameters()}, file)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
