"""Networks without memory: shapes of their weights alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.overrides import TorchFunctionMode

_DRAWS = (torch.Tensor.normal_, torch.Tensor.uniform_, torch.Tensor.erfinv_)


@contextmanager
def on_meta() -> Iterator[None]:
    """Create tensors on the device "meta" and skip random initial values.

    There they have no effect, but the first one would make PyTorch import its compiler, which takes seconds.
    """
    with torch.device("meta"), _SkipDraws():
        yield


class _SkipDraws(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _DRAWS:
            return args[0]
        return func(*args, **(kwargs or {}))
