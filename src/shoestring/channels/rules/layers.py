"""Layers consume channels and produce new ones; norms pass them through."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from shoestring.channels.operations import RuleRegistry, UnsupportedOperation, parameter_name
from shoestring.channels.record import TraceRecord

rule = RuleRegistry()


@rule("conv1d conv2d conv3d")
def _convolution(record: TraceRecord, func, result, maps, weight, bias=None, *args, **kwargs):
    groups = _argument(args, kwargs, 3, "groups", 1)
    dim = maps.ndim - weight.ndim + 1
    if (passed := _pass_through(record, maps, weight, dim, result)) is not None:
        record.mixed.append(passed)
        record.fix_shape(weight)
        return passed
    record.count_positions(weight, result, len(weight))
    inputs = record.channels_along(maps, dim)
    if getattr(weight, "parameter_name", None) is None:
        record.count_product(result.numel() * weight[0].numel(), [(inputs, 0)])
    if groups == 1:
        record.bind(weight, 1, inputs, consumes=True)
        outputs = record.new_channels(weight, bias)
    elif groups == len(inputs):
        outputs = _depthwise(record, weight, bias, inputs, groups)
    else:
        blocks = record.labels.union_along(inputs.view(groups, -1), 0).flatten()
        record.bind(weight, 1, blocks, consumes=True)
        outputs = record.new_channels(weight, bias)
        record.labels.union_along(outputs.view(groups, -1), 0)
    return expand_channels(outputs, result, dim)


def _depthwise(record: TraceRecord, weight: Any, bias: Any, inputs: Tensor, groups: int) -> Tensor:
    """Depthwise: each channel gives one output, or several that belong to the same channel."""
    outputs = inputs.repeat_interleave(len(weight) // len(inputs))
    if getattr(weight, "parameter_name", None) is None and not record.labels.varies(record.labels_of(weight), 0):
        return outputs  # one fixed filter repeated for all channels
    record.bind(weight, 0, outputs)
    record.bind(bias, 0, outputs)
    record.record_sizes(inputs, {0: groups})
    return outputs


@rule("conv_transpose1d conv_transpose2d conv_transpose3d")
def _transposed(record: TraceRecord, func, result, maps, weight, bias=None, *args, **kwargs):
    groups = _argument(args, kwargs, 3, "groups", 1)
    record.count_positions(weight, maps, len(weight))
    dim = maps.ndim - weight.ndim + 1
    inputs = record.channels_along(maps, dim)
    if groups == len(inputs) > 1 and weight.shape[1] == 1:
        return expand_channels(_depthwise(record, weight, bias, inputs, groups), result, dim)
    if groups > 1:
        record.labels.union_along(inputs.view(groups, -1), 0)
    record.bind(weight, 0, inputs, consumes=True)
    outputs = record.new_channels(weight, bias if groups == 1 else None, 1).repeat(groups)
    if groups > 1:
        record.bind(bias, 0, outputs)
    return expand_channels(outputs, result, dim)


@rule("linear")
def _linear(record: TraceRecord, func, result, features, weight, bias=None):
    if (passed := _pass_through(record, features, weight, features.ndim - 1, result)) is not None:
        record.fix_shape(weight)
        record.fix_shape(bias)
        return passed
    record.count_positions(weight, result, len(weight))
    record.bind(weight, 1, record.channels_along(features, -1), consumes=True)
    return record.new_channels(weight, bias).expand(result.shape)


@rule("embedding")
def _embedding(record: TraceRecord, func, result, indices, weight, *args, **kwargs):
    record.labels.freeze(record.labels_of(indices), "they are used as indices")
    return record.new_channels(weight, None, 1).expand(result.shape)


def _pass_through(record: TraceRecord, values: Any, weight: Tensor, dim: int, result: Tensor) -> Tensor | None:
    """Labels after a layer that works along an axis on which channels do not vary; None if it works on channels."""
    labels = record.labels_of(values)
    along = record.labels.varying_dims(labels)
    if dim in along or not along:
        return None
    if any(result.shape[other] != labels.shape[other] for other in along):
        raise UnsupportedOperation
    record.inhomogeneous.append(labels)
    record.count_product(result.numel() * weight[0].numel(), [(labels, other) for other in along])
    for other in range(labels.ndim):
        if other not in along:
            labels = labels.narrow(other, 0, 1)
    return labels.expand(result.shape)


@rule("batch_norm")
def _batch_norm(record: TraceRecord, func, result, maps, mean, var, *args, **kwargs):
    if mean is None:  # statistics of the batch itself
        raise UnsupportedOperation
    channels = record.channels_along(maps, 1)
    weight, bias = (_argument(args, kwargs, index, name) for index, name in enumerate(("weight", "bias")))
    for parameter in (mean, var, weight, bias):
        record.bind(parameter, 0, channels)
    return record.labels_of(maps)


@rule("layer_norm")
def _layer_norm(record: TraceRecord, func, result, maps, shape, weight=None, bias=None, *args, **kwargs):
    if len(shape) != 1:
        raise UnsupportedOperation
    return _norm_over_channels(record, maps, -1, (weight, bias), size=shape[0])


@rule("rms_norm")
def _rms_norm(record: TraceRecord, func, result, maps, shape, weight=None, *args, **kwargs):
    return _layer_norm(record, func, result, maps, shape, weight)


@rule("group_norm")
def _group_norm(record: TraceRecord, func, result, maps, groups, weight=None, bias=None, *args, **kwargs):
    record.labels.union_along(record.channels_along(maps, 1).view(groups, -1), 0)
    return _norm_over_channels(record, maps, 1, (weight, bias))


def _norm_over_channels(record: TraceRecord, maps: Any, dim: int, parameters: Any, *, size: int = -1) -> Tensor:
    """Normalization by statistics over channels."""
    channels = record.channels_along(maps, dim)
    for parameter in parameters:
        record.bind(parameter, 0, channels)
    record.mixed.append(channels)
    record.record_sizes(channels, {0: size})
    return record.labels_of(maps)


@rule("prelu")
def _prelu(record: TraceRecord, func, result, maps, weight):
    if len(weight) > 1:
        record.bind(weight, 0, record.channels_along(maps, 1))
    return record.labels_of(maps)


@rule("pad_channels")
def _pad_channels(record: TraceRecord, func, result, maps, before, after):
    """Zeros before and after the channels, each with an entry in a buffer."""
    return expand_channels(
        torch.cat([record.labels_of(before), record.channels_along(maps, 1), record.labels_of(after)]), result, 1
    )


@rule("matmul __matmul__ bmm mm")
def _matmul(record: TraceRecord, func, result, left, right):
    if min(left.ndim, right.ndim) < 2:
        raise UnsupportedOperation
    if getattr(right, "parameter_name", None) and right.ndim == 2:
        parameter_name(right)
        record.bind(right, 0, record.channels_along(left, -1), consumes=True)
        record.count_positions(right, result, right.shape[1])
        return record.new_channels(right, None, 1).expand(result.shape)
    return _product(record, record.labels_of(left), record.labels_of(right), result.shape)


@rule("scaled_dot_product_attention")
def _attention(record: TraceRecord, func, result, query, key, value, attn_mask=None, *args, **kwargs):
    """Heads (N, heads, L, D) are kept or dropped as a whole: the head dimension sets the scale of the products."""
    scores = torch.Size((*result.shape[:-1], key.shape[-2]))
    weights = _product(record, record.labels_of(query), record.labels_of(key).transpose(-1, -2), scores)
    return _product(record, weights, record.labels_of(value), result.shape)


def _product(record: TraceRecord, left: Tensor, right: Tensor, shape: torch.Size) -> Tensor:
    """Batched matrix product (..., M, K) x (..., K, N): channels are united along K and along batch axes."""
    labels = record.labels
    left, right = (one[(None,) * (len(shape) - one.ndim)] for one in (left, right))
    record.inhomogeneous += [left, right]
    batches = [(left if left.shape[dim] > 1 else right, dim) for dim in range(len(shape) - 2)]
    axes = [*batches, (left, len(shape) - 2), (left, len(shape) - 1), (right, len(shape) - 1)]
    record.count_product(shape.numel() * left.shape[-1], axes)
    if labels.varies(left, -1) or labels.varies(right, -2):
        rows = labels.union_along(left, left.ndim - 2)
        columns = labels.union_along(right, right.ndim - 1).transpose(-1, -2)
        labels.union(rows, columns)
        if any(dim < rows.ndim - 2 for dim in labels.varying_dims(rows)):  # heads are kept or dropped as a whole
            return labels.union_along(rows, rows.ndim - 1).expand(shape)
        record.mixed.append(rows)
        return labels.frozen_label("they are summed over in a product of activations").expand(shape)
    left, right = left.narrow(-1, 0, 1), right.narrow(-2, 0, 1)
    if labels.varies(left, -2) and labels.varies(right, -1):
        raise UnsupportedOperation
    main, other = (left, right) if labels.varies(left, -2) else (right, left)
    batch = [dim for dim in range(len(shape) - 2) if shape[dim] > 1]
    if any(labels.varies(one, dim) for one in (main, other) for dim in batch):
        labels.union(main, other)
    return main.expand(shape)


def expand_channels(channels: Tensor, maps: Tensor, dim: int) -> Tensor:
    """Expand labels (C,) to the shape of feature maps with channels along axis `dim`."""
    assert len(channels) == maps.shape[dim]
    return channels.view(-1, *[1] * (maps.ndim - dim - 1)).expand(maps.shape)


def _argument(args: tuple, kwargs: dict[str, Any], index: int, name: str, default: Any = None) -> Any:
    """Return an argument of the operation that was passed by position or by name."""
    return args[index] if len(args) > index else kwargs.get(name, default)
