"""Operations that move elements about do the same to their labels."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from shoestring.channels.tracer import Rules, Tracer, Unknown, operation

rule = Rules()


@rule(
    "flatten permute transpose movedim moveaxis unsqueeze squeeze t swapaxes swapdims roll flip T mT repeat_interleave "
    "rot90 repeat tile"
)
def _move(tracer: Tracer, func, result, values, *more, **options):
    return func(tracer.of(values), *more, **options)


@rule("reshape view")
def _reshape(tracer: Tracer, func, result, values, *shape):
    """Of the axes that channels come to lie along one may shrink."""
    labels = tracer.of(values).reshape(result.shape)
    given = shape[0] if isinstance(shape[0], tuple | list) else shape
    tracer.regroup(labels)
    tracer.rely_on(labels, {dim: size for dim, size in enumerate(given) if size != -1})
    return labels


@rule("reshape_as view_as")
def _reshape_as(tracer: Tracer, func, result, values, other):
    return _reshape(tracer, func, result, values, result.shape)


@rule("unflatten")
def _unflatten(tracer: Tracer, func, result, values, *more, **options):
    return _reshape(tracer, func, result, values, result.shape)


@rule("expand expand_as")
def _expand(tracer: Tracer, func, result, values, *more, **options):
    return tracer.of(values).expand(result.shape)


@rule("__getitem__ narrow select index_select")
def _slice_of(tracer: Tracer, func, result, values, *more, **options):
    """A part: its bounds stand in the module's code, so it is tried whether channels can be cut."""
    before = tracer.of(values)
    labels = func(before, *tree_map_only(Tensor, _plain, more), **options)
    if labels.ndim == before.ndim:
        pairs = enumerate(zip(labels.shape, before.shape))
        tracer.rely_on(labels, {dim: size for dim, (size, whole) in pairs if size != whole})
    return labels


def _plain(index: Tensor) -> Tensor:
    return index.as_subclass(torch.Tensor).cpu()


@rule("chunk tensor_split")
def _chunk(tracer: Tracer, func, result, values, chunks, dim=0):
    return _parts(tracer, func, values, chunks, dim, even=True)


@rule("split split_with_sizes")
def _split(tracer: Tracer, func, result, values, sizes, dim=0):
    return _parts(tracer, func, values, sizes, dim, even=False)


def _parts(tracer: Tracer, func: Any, values: Any, how: Any, dim: int, *, even: bool) -> list[Tensor]:
    """Parts of equal size must lose the same channels, so that they stay equal."""
    labels = tracer.of(values)
    parts = func(labels, how, dim)
    if tracer.labels.varies(labels, dim):
        if len({part.shape for part in parts}) == 1:
            for part in parts[1:]:
                tracer.labels.join(parts[0], part)
        elif even:
            raise Unknown
        for part in (*parts, labels):
            tracer.rely_on(part, {dim % labels.ndim: part.shape[dim]})
    return list(parts)


@rule("unbind __iter__")
def _unbind(tracer: Tracer, func, result, values, *more, **options):
    labels = tracer.of(values)
    tracer.regroup(labels)
    return list(func(labels, *more, **options))


@rule("cat concat concatenate stack")
def _concatenate(tracer: Tracer, func, result, parts, *more, **options):
    labels = func([tracer.of(part) for part in parts], *more, **options)
    if operation(func) == "stack":
        tracer.regroup(labels)
    return labels
