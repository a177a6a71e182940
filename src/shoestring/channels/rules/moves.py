"""Operations that move elements about do the same to their labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from shoestring.channels.labels import labelled
from shoestring.channels.numbers import AttributeSize, AxisSize, sizes_of
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
    tracer.rely_on(labels, dict(enumerate(given)))
    return labels


@rule("reshape_as view_as")
def _reshape_as(tracer: Tracer, func, result, values, other):
    return _reshape(tracer, func, result, values, sizes_of(result.shape, tracer.of(other), None))


@rule("unflatten")
def _unflatten(tracer: Tracer, func, result, values, dim, sizes):
    before = dim % values.ndim
    return _reshape(tracer, func, result, values, [*[-1] * before, *sizes, *[-1] * (values.ndim - before - 1)])


@rule("expand expand_as")
def _expand(tracer: Tracer, func, result, values, *more, **options):
    return tracer.of(values).expand(result.shape)


@rule("__getitem__ narrow select index_select")
def _slice_of(tracer: Tracer, func, result, values, *more, **options):
    """A part: its bounds stand in the module's code, so it is tried whether channels can be cut."""
    before = tracer.of(values)
    for index in labelled(more):
        if index.labels is not None:
            tracer.labels.freeze(index.labels, "they are looked up by their positions")
    if operation(func) == "__getitem__":
        for dim, bound in _bounds(more[0], before.ndim):
            tracer.rely_on(before.narrow(dim, 0, bound), {dim: bound})
    elif operation(func) == "narrow" and len(more) == 3 and more[1] == 0:
        tracer.rely_on(before.narrow(*more), {more[0] % before.ndim: more[2]})
    return func(before, *tree_map_only(Tensor, _plain, more), **options)


def _bounds(index: Any, ndim: int) -> Iterator[tuple[int, int]]:
    """The bounds of slices, by the axis that they are of: so many of its elements lie before them."""
    items = list(index) if isinstance(index, tuple) else [index]
    if any(item is None or isinstance(item, Tensor | list | bool) for item in items):
        return
    if Ellipsis in items:
        place = items.index(Ellipsis)
        items[place : place + 1] = [slice(None)] * (ndim - len(items) + 1)
    for dim, item in enumerate(items):
        bounds = (item.start, item.stop) if isinstance(item, slice) else ()
        yield from ((dim, bound) for bound in bounds if isinstance(bound, AxisSize | AttributeSize) and bound > 0)


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
        named = how if isinstance(how, tuple | list) else [how]
        for part, size in zip(parts, [] if even else named):
            tracer.rely_on(part, {dim % labels.ndim: size})
        if len({part.shape for part in parts}) == 1:
            for part in parts[1:]:
                tracer.labels.join(parts[0], part)
        elif even:
            raise Unknown
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
