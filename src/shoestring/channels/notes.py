"""Notes of a channel table: what cannot be pruned, and why."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from torch import nn

from shoestring.channels.record import TraceRecord

_MAX_NAMES = 10


def trace_notes(module: nn.Module, record: TraceRecord) -> Iterator[str]:
    """Explain which channels are frozen, and which layers were not traced."""
    names_by_reason: dict[str, list[str]] = {}
    for name, dim in record.producers:
        for reason in record.labels.reasons(record.axes[name, dim]):
            names_by_reason.setdefault(reason, []).append(name.removesuffix(".weight"))
    for reason, names in names_by_reason.items():
        yield f"channels of {join_names(names)} are frozen: {reason}."
    if record.computed:
        layers = join_names(record.computed)
        yield f"channels before and after {layers} are frozen: the weights are not parameters."
    for parameters, when in ((record.unused, "never runs"), (record.training_only, "runs only in training mode")):
        if parameters:
            yield f"{join_names(outermost_modules(module, parameters))} {when} and is not changed."


def join_names(names: Iterable[str]) -> str:
    """Join the first ten distinct names with commas, and count the others."""
    names = list(dict.fromkeys(names))
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{', '.join(names[:_MAX_NAMES])}{more}"


def outermost_modules(module: nn.Module, parameters: Sequence[str]) -> list[str]:
    """Return the names of the outermost modules all of whose parameters are among these."""
    all_names = [name for name, _ in module.named_parameters()]
    result: list[str] = []
    for name in parameters:
        parts = name.split(".")
        prefixes = [".".join(parts[:depth]) for depth in range(1, len(parts) + 1)]
        result.append(
            next(
                prefix
                for prefix in prefixes
                if {other for other in all_names if f"{other}.".startswith(f"{prefix}.")} <= {*parameters}
            )
        )
    return list(dict.fromkeys(result))
