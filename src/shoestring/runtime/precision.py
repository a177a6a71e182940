"""Which low precisions are worth timing on a device."""

from __future__ import annotations

from functools import lru_cache, partial

import torch

from shoestring.runtime.timing import time_calls

Precision = str  # "float32", "bfloat16" or "float16"

_PROBE_SIZE = 384  # rows and columns of the matrices for timing bfloat16


def low_precisions(device: str) -> list[Precision]:
    """Return the low precisions worth timing on a type of device: float16 on CUDA devices without native bfloat16."""
    if device == "mps" or (device == "cpu" and not _multiplies_bfloat16()):
        return []
    if device == "cuda" and not torch.cuda.is_bf16_supported(including_emulation=False):
        return ["float16"]
    return ["bfloat16"]


@lru_cache(maxsize=1)
def _multiplies_bfloat16() -> bool:
    """Whether the CPU multiplies faster in bfloat16 than in float32; with emulation a step takes 30 times as long."""
    matrices = [torch.ones(_PROBE_SIZE, _PROBE_SIZE, dtype=kind) for kind in (torch.float32, torch.bfloat16)]
    plain, low = (time_calls(partial(_square, matrix), 0.01).cpu_seconds for matrix in matrices)
    return low < plain


def _square(matrix: torch.Tensor) -> None:
    torch.mm(matrix, matrix)
