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


def _multiplies_bfloat16() -> bool:
    """Whether the CPU multiplies faster in bfloat16 than in float32; with emulation a step takes 30 times as long."""
    return _cpu_seconds(torch.float32) > _cpu_seconds(torch.bfloat16)


def cpu_flops() -> float:
    """Return the FLOPs per second of all threads of an idle CPU, in the product of two matrices.

    It is measured in float32, and in bfloat16 if that is faster.
    """
    seconds = min(_cpu_seconds(kind) for kind in (torch.float32, torch.bfloat16))
    return 2 * _PROBE_SIZE**3 * torch.get_num_threads() / seconds


@lru_cache(maxsize=2)
def _cpu_seconds(kind: torch.dtype) -> float:
    """CPU seconds of all threads for the product of two matrices."""
    return time_calls(partial(_square, torch.ones(_PROBE_SIZE, _PROBE_SIZE, dtype=kind)), 0.01).cpu_seconds


def _square(matrix: torch.Tensor) -> None:
    torch.mm(matrix, matrix)
