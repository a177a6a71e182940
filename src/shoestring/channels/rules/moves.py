"""Operations that only rearrange elements do the same to the labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_map_only

from shoestring.channels.labels import labeled_tensors
from shoestring.channels.operations import RuleRegistry, UnsupportedOperation, operation_name
from shoestring.channels.record import TraceRecord
from shoestring.channels.tagged_sizes import AttributeSize, AxisSize, tagged_sizes

rule = RuleRegistry()


@rule(
    "flatten permute transpose movedim moveaxis unsqueeze squeeze t swapaxes swapdims roll flip T mT repeat_interleave "
    "rot90 repeat tile"
)
def _move(record: TraceRecord, func, result, values, *args, **kwargs):
    return func(record.labels_of(values), *args, **kwargs)


@rule("reshape view")
def _reshape(record: TraceRecord, func, result, values, *shape):
    """If channels lie along several axes afterwards, only one of them may change its size."""
    labels = record.labels_of(values).reshape(result.shape)
    sizes = shape[0] if isinstance(shape[0], tuple | list) else shape
    record.shrink_one_axis(labels)
    record.record_sizes(labels, dict(enumerate(sizes)))
    return labels


@rule("reshape_as view_as")
def _reshape_as(record: TraceRecord, func, result, values, other):
    return _reshape(record, func, result, values, tagged_sizes(result.shape, record.labels_of(other), None))


@rule("unflatten")
def _unflatten(record: TraceRecord, func, result, values, dim, sizes):
    before = dim % values.ndim
    return _reshape(record, func, result, values, [*[-1] * before, *sizes, *[-1] * (values.ndim - before - 1)])


@rule("expand expand_as")
def _expand(record: TraceRecord, func, result, values, *args, **kwargs):
    return record.labels_of(values).expand(result.shape)


@rule("__getitem__ narrow select index_select")
def _slice_of(record: TraceRecord, func, result, values, *args, **kwargs):
    """Slices: their bounds are in the module's code, so only verification shows whether channels can be pruned."""
    before = record.labels_of(values)
    for index in labeled_tensors(args):
        if index.labels is not None:
            record.labels.freeze(index.labels, "they are used as indices")
    if operation_name(func) == "__getitem__":
        for dim, bound in _bounds(args[0], before.ndim):
            record.record_sizes(before.narrow(dim, 0, bound), {dim: bound})
    elif operation_name(func) == "narrow" and len(args) == 3 and args[1] == 0:
        record.record_sizes(before.narrow(*args), {args[0] % before.ndim: args[2]})
    return func(before, *tree_map_only(Tensor, _unlabeled, args), **kwargs)


def _bounds(index: Any, ndim: int) -> Iterator[tuple[int, int]]:
    """Return the tagged bounds of slices with their axes: a bound is the number of elements before it."""
    items = list(index) if isinstance(index, tuple) else [index]
    if any(item is None or isinstance(item, Tensor | list | bool) for item in items):
        return
    if Ellipsis in items:
        position = items.index(Ellipsis)
        items[position : position + 1] = [slice(None)] * (ndim - len(items) + 1)
    for dim, item in enumerate(items):
        bounds = (item.start, item.stop) if isinstance(item, slice) else ()
        yield from ((dim, bound) for bound in bounds if isinstance(bound, AxisSize | AttributeSize) and bound > 0)


def _unlabeled(index: Tensor) -> Tensor:
    return index.as_subclass(torch.Tensor).cpu()


@rule("chunk tensor_split")
def _chunk(record: TraceRecord, func, result, values, chunks, dim=0):
    return _split_parts(record, func, values, chunks, dim, even=True)


@rule("split split_with_sizes")
def _split(record: TraceRecord, func, result, values, sizes, dim=0):
    return _split_parts(record, func, values, sizes, dim, even=False)


def _split_parts(record: TraceRecord, func: Any, values: Any, sizes: Any, dim: int, *, even: bool) -> list[Tensor]:
    """Parts of equal size must lose the same channels, so that they remain equal."""
    labels = record.labels_of(values)
    parts = func(labels, sizes, dim)
    if record.labels.varies(labels, dim):
        part_sizes = sizes if isinstance(sizes, tuple | list) else [sizes]
        for part, size in zip(parts, [] if even else part_sizes):
            record.record_sizes(part, {dim % labels.ndim: size})
        if len({part.shape for part in parts}) == 1:
            for part in parts[1:]:
                record.labels.union(parts[0], part)
        elif even:
            raise UnsupportedOperation
    return list(parts)


@rule("unbind __iter__")
def _unbind(record: TraceRecord, func, result, values, *args, **kwargs):
    labels = record.labels_of(values)
    record.shrink_one_axis(labels)
    return list(func(labels, *args, **kwargs))


@rule("cat concat concatenate stack")
def _concatenate(record: TraceRecord, func, result, parts, *args, **kwargs):
    labels = func([record.labels_of(part) for part in parts], *args, **kwargs)
    if operation_name(func) == "stack":
        record.shrink_one_axis(labels)
    return labels
