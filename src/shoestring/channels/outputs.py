"""Outputs of modules: computed, flattened and compared."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


def compute_outputs(module: nn.Module, example: Tensor) -> list[Tensor]:
    """Return all tensors and numbers in the module's output. Raises `ValueError` if the forward pass fails."""
    try:
        with torch.no_grad():
            return [leaf.detach() for leaf in flatten_outputs(module(example))]
    except Exception as error:
        shape = tuple(example.shape)
        raise ValueError(f"the model fails on an input of shape {shape}: {type(error).__name__}: {error}") from error


def flatten_outputs(values: Any) -> Iterator[Tensor]:
    """Iterate over all tensors, arrays and numbers in nested mappings, sequences, data classes and other objects."""
    seen: set[int] = set()
    queue = [values]
    while queue:
        value = queue.pop(0)
        if isinstance(value, Tensor):
            yield value
        elif isinstance(value, bool | int | float | complex | np.ndarray | np.generic):
            yield torch.as_tensor(value)
        elif id(value) not in seen and not isinstance(value, str | bytes | type | nn.Module):
            seen.add(id(value))
            if isinstance(value, Mapping):
                queue += value.values()
            elif isinstance(value, Iterable) and not isinstance(value, Iterator):
                queue += value
            elif hasattr(value, "__dict__"):
                queue += vars(value).values()


def outputs_match(outputs: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Return whether two lists of outputs agree in shape, type and, within their precision, in value.

    Integers and booleans must be equal, and infinities and NaNs must be at the same positions.
    """
    if [(one.shape, one.dtype) for one in outputs] != [(one.shape, one.dtype) for one in expected]:
        return False
    return all(_close(one, other) for one, other in zip(outputs, expected))


def _close(output: Tensor, expected: Tensor) -> bool:
    if not (output.is_floating_point() or output.is_complex()):
        return torch.equal(output, expected)
    finite = expected.isfinite()
    special, expected_special = output[~finite], expected[~finite]
    if not torch.equal(output.isfinite(), finite) or not torch.equal(special.isnan(), expected_special.isnan()):
        return False
    if not torch.equal(special[~special.isnan()], expected_special[~expected_special.isnan()]):
        return False
    difference, magnitude = (output - expected)[finite].abs(), expected[finite].abs()
    tolerance = torch.finfo(output.dtype).eps ** 0.5
    return not magnitude.numel() or bool(difference.max() <= tolerance * magnitude.max().clamp_min(1e-6))
