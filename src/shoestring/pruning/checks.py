"""Whether targets of pruning can be reached, and whether they change anything, before time is spent on them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from shoestring.channels import trace
from shoestring.config.keep_channels import KeepChannels
from shoestring.config.units import Duration, format_milliseconds
from shoestring.errors import UserError
from shoestring.evaluation import cost
from shoestring.models import Model
from shoestring.pruning.inputs import as_user_errors, example_image
from shoestring.pruning.latency import check_latency, measure_latency
from shoestring.pruning.limits import UNITS, channel_counts
from shoestring.pruning.shrinking import shrink


def check_targets(model: Model, targets: Mapping[str, Any]) -> None:
    """Raise `UserError` if a network of this kind cannot be pruned to the targets, which are those of `shrink`."""
    latency, sizes = targets.get("latency"), {name: value for name, value in targets.items() if name != "latency"}
    if any(value is not None for value in sizes.values()):
        shrink(model, [], method="random", log=lambda text: None, **sizes)
    if latency is not None:
        example = example_image(model)
        with as_user_errors():
            check_latency(model.module, trace(model.module, example), example, 1000 * Duration(latency))


def check_has_effect(model: Model, targets: Mapping[str, Any]) -> None:
    """Raise `UserError` if a model meets all targets, which are those of `shrink`, before it is pruned."""
    given = {name: target for name, target in targets.items() if target is not None}
    keep, latency = given.pop("keep_channels", None), given.pop("latency", None)
    met = []
    if keep is not None:
        if not _keeps_all(model, keep):
            return
        met.append("--keep-channels keeps all channels")
    counts = {"macs": cost.count_macs(model), "params": cost.count_params(model.module)}
    counts["file_size"] = cost.file_bytes(model.module)
    for name, target in given.items():
        if counts[name] > target.of(counts[name]):
            return
        met.append(f"the network has {counts[name]:,} {UNITS[name]} (target: {target})")
    if latency is not None:
        milliseconds = measure_latency(model.module, example_image(model)).one_thread
        if milliseconds > 1000 * Duration(latency):
            return
        met.append(f"the network takes {format_milliseconds(milliseconds)} per image (target: {latency})")
    if met:
        raise UserError(f"nothing to prune: {' and '.join(met)}. Set a smaller target.")


def _keeps_all(model: Model, keep: KeepChannels | str) -> bool:
    with as_user_errors():
        table = trace(model.module, example_image(model))
    return all(count == table.groups[name].size for name, count in channel_counts(table, keep).items())
