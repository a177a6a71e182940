"""The frozen part of a network: all that comes before its first trainable block, and can be run once for each image."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from shoestring.models.blocks import block_modules
from shoestring.models.head_modules import class_scores
from shoestring.models.model import Model
from shoestring.runtime.device import eval_mode

_TRIAL = 2  # images that a division is tested on
_TOLERANCE = 1e-3  # difference of logits, relative to their standard deviation


class _Reached(Exception):
    """The first trainable block was reached."""


class FrozenPart:
    """The frozen part of a network, and how the network continues from its outputs.

    `skipped` are the modules of the frozen part, each with the shape and type of its output, and `first` is the first
    trainable block. `input_shape` is that of an image (C, H, W).
    """

    def __init__(
        self, module: nn.Module, first: nn.Module, skipped: dict[nn.Module, Tensor], input_shape: torch.Size
    ) -> None:
        self.module, self._first, self._input_shape = module, first, input_shape
        self._skipped = {part: (output.shape[1:], output.dtype) for part, output in skipped.items()}

    def outputs(self, images: Tensor) -> Tensor:
        """Return what the first trainable block gets for prepared images (B, C, H, W), in evaluation mode."""
        captured: list[Tensor] = []

        def stop(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            captured.append(inputs[0])
            raise _Reached

        hook = self._first.register_forward_pre_hook(stop)
        try:
            with torch.no_grad(), eval_mode(self.module):
                self.module(images)
        except _Reached:
            pass
        finally:
            hook.remove()
        return captured[0]

    def resume(self, outputs: Tensor) -> Any:
        """Return what the network does for the images with these outputs (B, ...) of the frozen part."""
        with self._skipping(outputs):
            return self.module(_blank(outputs, self._input_shape, torch.float32))

    @contextmanager
    def _skipping(self, outputs: Tensor) -> Iterator[None]:
        """Replace the frozen part by zeros of the right shape, and the input of the first trainable block."""
        hook = self._first.register_forward_pre_hook(lambda layer, inputs: (outputs,))
        try:
            for part, (shape, dtype) in self._skipped.items():
                part.forward = _returning(_blank(outputs, shape, dtype))
            yield
        finally:
            for part in self._skipped:
                vars(part).pop("forward", None)
            hook.remove()


def find_frozen_part(model: Model, tuned: Collection[str]) -> FrozenPart | None:
    """Return the part before the first block with a parameter among the names in `tuned`; None if there is none.

    None is returned, too, for a network whose later blocks use more of the earlier ones than the input of that block,
    as a test with random images shows.
    """
    module, size = model.module, model.preprocessing
    shape = (_TRIAL, size.channels, size.resolution, size.resolution)
    images = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(next(module.parameters()).device)
    images = images.contiguous(memory_format=torch.channels_last)
    with torch.no_grad(), eval_mode(module):
        part = _divide(module, images, tuned)
        return part if part is not None and _is_equivalent(part, images) else None


def _divide(module: nn.Module, images: Tensor, tuned: Collection[str]) -> FrozenPart | None:
    units = block_modules(module)
    paths = {name: next((path for path in units if name.startswith(f"{path}.")), None) for name in tuned}
    if None in paths.values():  # a parameter of the network itself
        return None
    order, inputs, outputs = _calls(units, module, images)
    place = next((place for place, path in enumerate(order) if path in paths.values()), 0)
    if not place:
        return None
    first, counts = order[place], Counter(order)
    skipped = {path: outputs[path] for path in order[:place] if counts[path] == 1}
    if counts[first] > 1 or inputs[first] is None or not skipped:
        return None
    if any(output is None or len(output) != len(images) for output in skipped.values()):
        return None
    parts = {units[path]: output for path, output in skipped.items() if output is not None}
    return FrozenPart(module, units[first], parts, images.shape[1:])


def _calls(
    units: dict[str, nn.Module], module: nn.Module, images: Tensor
) -> tuple[list[str], dict[str, Tensor | None], dict[str, Tensor | None]]:
    """Return the names of the units in the order of their calls, and input and output of each if it is one tensor."""
    order: list[str] = []
    inputs: dict[str, Tensor | None] = {}
    outputs: dict[str, Tensor | None] = {}

    def watch(path: str) -> list[Any]:
        def before(layer: nn.Module, args: Any, kwargs: Any) -> None:
            order.append(path)
            inputs[path] = args[0] if len(args) == 1 and not kwargs and isinstance(args[0], Tensor) else None

        def after(layer: nn.Module, args: Any, output: Any) -> None:
            outputs[path] = output if isinstance(output, Tensor) else None

        unit = units[path]
        return [unit.register_forward_pre_hook(before, with_kwargs=True), unit.register_forward_hook(after)]

    hooks = [hook for path in units for hook in watch(path)]
    try:
        module(images)
    finally:
        for hook in hooks:
            hook.remove()
    return order, inputs, outputs


def _is_equivalent(part: FrozenPart, images: Tensor) -> bool:
    """Whether the network returns the same if it continues from the outputs of the frozen part."""
    expected = class_scores(part.module(images)).float()
    try:
        found = class_scores(part.resume(part.outputs(images))).float()
    except (RuntimeError, TypeError, ValueError, AttributeError, IndexError, AssertionError):  # not made for zeros
        return False
    return bool(((found - expected).abs() <= _TOLERANCE * expected.std()).all())


def _blank(like: Tensor, shape: torch.Size, dtype: torch.dtype) -> Tensor:
    """Zeros (B, *shape) that take no memory."""
    return torch.zeros((), dtype=dtype, device=like.device).expand(len(like), *shape)


def _returning(value: Tensor) -> Callable[..., Tensor]:
    return lambda *args, **kwargs: value
