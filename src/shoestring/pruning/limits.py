"""Targets of pruning as limits on what a network costs, and fractions of channels by layer as numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import partial
from math import prod

from torch import nn

from shoestring.channels import Group, Kept, Table
from shoestring.channels.table import named_tensors
from shoestring.config.keep_channels import KeepChannels, parse_keep_channels
from shoestring.config.units import Size
from shoestring.errors import unknown

UNITS = {"macs": "MACs", "params": "parameters", "file_size": "bytes"}


@dataclass(frozen=True)
class Limit:
    """An upper limit on a cost: `count` returns it for the channels to keep, or of the whole network for None."""

    unit: str
    most: float
    count: Callable[[Kept | None], int]

    def fits(self, kept: Kept | None = None) -> bool:
        """Return whether the network with these channels is within the limit."""
        return self.count(kept) <= self.most


def size_limits(module: nn.Module, table: Table, targets: Mapping[str, Size | str | float | None]) -> list[Limit]:
    """Return the limits for these targets: `macs`, `params` and `file_size`; None sets no limit.

    Raises `UserError` for what is not a size.
    """
    counts = {"macs": table.macs, "params": table.params, "file_size": partial(file_bytes, module, table)}
    limits = []
    for name, target in targets.items():
        if target is not None:
            parse = Size.parse_bytes if name == "file_size" else Size.parse
            most = parse(target, what=name).of(counts[name](None))
            limits.append(Limit(UNITS[name], most, counts[name]))
    return limits


def file_bytes(module: nn.Module, table: Table, kept: Kept | None = None) -> int:
    """Return the size of the model's safetensors file after pruning, at most a few digits in its header too large."""
    from safetensors.torch import save

    sizes, tensors = table.sizes(kept or {}), named_tensors(module)
    saved = {name for name in module.state_dict() if name in tensors}
    empty = save({name: tensor.new_zeros(0) for name, tensor in module.state_dict().items()})
    digits = sum(2 * len(str(tensor.numel() * 8)) + 4 * tensor.ndim for tensor in tensors.values())
    content = sum(prod(sizes[name]) * tensors[name].element_size() for name in saved)
    return len(empty) + digits + content


def channel_counts(table: Table, keep: KeepChannels | str | None) -> dict[str, int]:
    """Return the numbers of channels to keep in the groups that `keep` names, at least one each; all for one number.

    A name is that of a layer or group, of a module that contains it, or a pattern such as `layer1.*.conv1`; where
    several match, the last one counts. Raises `UserError` for a name that matches no group.
    """
    if keep is None:
        return {}
    fractions = parse_keep_channels(keep)
    if not isinstance(fractions, Mapping):
        return {name: max(1, round(fractions * group.size)) for name, group in table.groups.items()}
    counts: dict[str, int] = {}
    for pattern, fraction in fractions.items():
        names = [name for name, group in table.groups.items() if _matches(pattern, name, group)]
        if not names:
            layers = {layer for name, group in table.groups.items() for layer in (name, *_layers(group))}
            modules = {name.partition(".")[0] for name in table.groups}
            raise unknown("layer", pattern, layers | modules, hint="Others cannot be pruned.")
        counts |= {name: max(1, round(fraction * table.groups[name].size)) for name in names}
    return counts


def _matches(pattern: str, name: str, group: Group) -> bool:
    if fnmatch(name, pattern) or name.startswith(f"{pattern}."):
        return True
    return pattern in _layers(group)


def _layers(group: Group) -> Sequence[str]:
    return [name.removesuffix(".weight") for name, _ in group.producers]
