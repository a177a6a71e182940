"""Elementwise functions, functions of several tensors, and reductions along axes."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import functional

from shoestring.channels.labels import LabeledTensor, frozen_labels
from shoestring.channels.operations import RuleRegistry, UnsupportedOperation, operation_name
from shoestring.channels.record import TraceRecord

rule = RuleRegistry()


@rule(
    "relu relu_ leaky_relu leaky_relu_ abs neg dropout dropout_ dropout2d feature_dropout alpha_dropout clone "
    "contiguous detach to float half bfloat16 type type_as data requires_grad_"
)
def _homogeneous(record: TraceRecord, func, result, values, *args, **kwargs):
    """Elementwise functions with f(ax) = a f(x) for a > 0."""
    return record.labels_of(values)


@rule(
    "relu6 elu elu_ selu celu gelu silu silu_ mish mish_ hardswish hardswish_ hardsigmoid hardsigmoid_ hardtanh "
    "hardtanh_ softplus sigmoid sigmoid_ tanh tanh_ clamp clamp_ clamp_min clip exp log sqrt rsqrt square erf "
    "reciprocal sin cos zeros_like ones_like empty_like rand_like masked_fill masked_fill_ softsign logical_not"
)
def _elementwise(record: TraceRecord, func, result, values, *args, **kwargs):
    """Other elementwise functions."""
    record.inhomogeneous.append(record.labels_of(values))
    return record.labels_of(values)


@rule("new_zeros new_ones new_full new_empty new_tensor")
def _constant(record: TraceRecord, func, result, *args, **kwargs):
    return frozen_labels(result)


@rule(
    "add add_ sub sub_ mul mul_ div div_ __add__ __radd__ __iadd__ __sub__ __rsub__ __isub__ __mul__ __rmul__ __imul__ "
    "__truediv__ __rtruediv__ __itruediv__ rsub where maximum minimum lerp addcmul eq ne gt ge lt le multiply pow "
    "__pow__ __rpow__ logical_and"
)
def _combine(record: TraceRecord, func, result, *args, **kwargs):
    """Elementwise functions of several tensors: channels at the same position are united.

    A single channel that is broadcast over many others keeps its own label and is frozen.
    """
    tensors = [one for one in (*args, *kwargs.values()) if isinstance(one, Tensor)]
    tensors = [one for one in tensors if isinstance(one, LabeledTensor) or one.numel() > 1]
    operands = [(labels := record.labels_of(tensor))[(None,) * (result.ndim - labels.ndim)] for tensor in tensors]
    united = []
    for labels in operands:
        broadcast = [dim for dim in range(result.ndim) if labels.shape[dim] < result.shape[dim]]
        if any(record.labels.varies(other, dim) for dim in broadcast for other in operands if other is not labels):
            record.labels.freeze(labels, "one of them is broadcast over many others")
        else:
            united.append(labels.expand(result.shape))
    if not united:
        raise UnsupportedOperation
    for other in united[1:]:
        record.labels.union(united[0], other)
    record.inhomogeneous.append(united[0])
    return united[0]


@rule("softmax log_softmax")
def _softmax(record: TraceRecord, func, result, values, dim=None, *args, **kwargs):
    return _normalize_along(record, values, dim)


@rule("normalize")
def _normalize(record: TraceRecord, func, result, values, p=2.0, dim=1, *args, **kwargs):
    return _normalize_along(record, values, dim)


def _normalize_along(record: TraceRecord, values: Any, dim: Any) -> Tensor:
    """Normalization of all elements along one axis by statistics over it."""
    labels = record.labels_of(values)
    if record.labels.varies(labels, dim):
        record.mixed.append(labels)
    record.inhomogeneous.append(labels)
    return labels


@rule("mean sum amax amin max min logsumexp prod any all argmax argmin")
def _reduce(record: TraceRecord, func, result, values, dim=None, keepdim=False, *args, **kwargs):
    """Reductions over some axes."""
    dim, keepdim = kwargs.get("axis", dim), kwargs.get("keepdims", keepdim)
    if isinstance(dim, Tensor):  # elementwise maximum or minimum of two tensors
        return _combine(record, func, result, values, dim)
    dims = range(values.ndim) if dim is None else (dim,) if isinstance(dim, int) else dim
    labels, mixed = record.labels_of(values), None
    for one in sorted((one % labels.ndim for one in dims), reverse=True):
        varying = record.labels.varying_dims(labels)
        if varying == [one]:  # all channels are reduced to one number
            record.mixed.append(labels)
            mixed, shape = labels, labels.narrow(one, 0, 1).shape
            labels = record.reduced(mixed, shape, is_index=operation_name(func) in ("argmax", "argmin"))
        elif one in varying:
            labels = record.labels.union_along(labels, one)
        labels = labels.narrow(one, 0, 1) if keepdim else labels.select(one, 0)
    record.inhomogeneous += [record.labels_of(values), labels]
    if mixed is None or isinstance(result, Tensor) or operation_name(func) not in ("max", "min"):
        return expand_to(labels, result)
    return [labels, record.reduced(mixed, labels.shape, is_index=True)]  # the index is that of a channel


@rule("var std var_mean std_mean")
def _variance(record: TraceRecord, func, result, values, dim=None, unbiased=True, keepdim=False, **kwargs):
    if isinstance(dim, bool):
        dim = None
    return _reduce(record, func, result, values, kwargs.get("axis", dim), kwargs.get("keepdims", keepdim))


@rule("norm vector_norm linalg_vector_norm")
def _norm(record: TraceRecord, func, result, values, p=2, dim=None, keepdim=False, **kwargs):
    return _reduce(record, func, result, values, dim, keepdim)


@rule(
    "max_pool1d max_pool2d max_pool3d avg_pool1d avg_pool2d avg_pool3d lp_pool2d adaptive_avg_pool1d "
    "adaptive_avg_pool2d adaptive_avg_pool3d adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d interpolate"
)
def _pool(record: TraceRecord, func, result, maps, *args, **kwargs):
    """Pooling and resizing change positions but not channels."""
    name = operation_name(func)
    labels = record.labels_of(maps)
    axes = int(name[-2]) if name.endswith("d") else labels.ndim - 2
    for dim in range(labels.ndim - axes, labels.ndim):
        labels = record.labels.union_along(labels, dim)
    return expand_to(labels, result)


@rule("pad")
def _pad(record: TraceRecord, func, result, maps, pad, mode="constant", value=None):
    """Padding: along spatial axes labels are repeated, along the channel axis frozen ones are added."""
    labels = record.labels_of(maps)
    if value:
        record.inhomogeneous.append(labels)
    for index in range(len(pad) // 2):
        dim, (before, after) = labels.ndim - 1 - index, pad[2 * index : 2 * index + 2]
        if not (before or after):
            continue
        if not record.labels.varies(labels, dim):
            shape = [*labels.shape[:dim], result.shape[dim], *labels.shape[dim + 1 :]]
            labels = labels.narrow(dim, 0, 1).expand(shape)
        elif mode != "constant":
            raise UnsupportedOperation
        else:
            labels = functional.pad(labels.movedim(dim, -1), (before, after)).movedim(-1, dim)
    return labels


def expand_to(labels: Tensor, result: Any) -> Any:
    """Expand labels to the shape of a result, or of each tensor of a result (values, indices)."""
    if isinstance(result, Tensor):
        return labels.expand(result.shape)
    return [labels.expand(part.shape) for part in result]
