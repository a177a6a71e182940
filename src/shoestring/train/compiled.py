"""The network compiled for a CUDA device, where the time that this saves is more than it takes."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor

from shoestring.data.batches import Batch
from shoestring.models.model import Model
from shoestring.running import least_seconds
from shoestring.train.calibrate import Speed, one_step

_FASTER = 1.25  # how much a step gains, about
_SECONDS, _A_LAYER = 10.0, 0.6  # that compiling takes, and each layer with weights besides
_CAUTION = 1.5
_TIMED = 1.0  # seconds in which steps are timed

Run = Callable[[Tensor], Tensor]


def worth_compiling(model: Model, seconds: float) -> bool:
    """Whether so many seconds of training are likely to gain more by it than it takes."""
    layers = sum(any(True for _ in part.parameters(recurse=False)) for part in model.module.modules())
    return seconds * (1 - 1 / _FASTER) > _CAUTION * (_SECONDS + _A_LAYER * layers)


def compiled(model: Model, batch: Batch, speed: Speed, *, say: Callable[[str], None]) -> tuple[Run | None, Speed]:
    """The network compiled for batches of this size, and the speed with it; as it was where steps gain nothing by it.

    The compiler's first words are spoken here, in the middle of nothing, so that training is not held up by it.
    """
    module, count = model.module, len(batch.images)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            run: Run = torch.compile(module, dynamic=False)
            step = least_seconds(one_step(module, batch, speed.precision, run=run), _TIMED) / count
    except Exception as error:  # the compiler needs others that may not be there
        say(f"not compiled: {(str(error).splitlines() or [type(error).__name__])[0]}")
        return None, speed
    finally:
        module.load_state_dict(before)
    if step > 0.95 * speed.train:
        return None, speed
    say(f"compiled: a step takes {step / speed.train:.0%} of the time")
    return run, replace(speed, train=step)
