"""A network that starts narrow and becomes exactly the one asked for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from shoestring.channels import Group, Remembering, Table, drop, trace, widen
from shoestring.channels.table import named_tensors


class Growing:
    """The groups of channels of a network that can be fewer for a while, and how many each has in the end.

    These are the groups that can be copied one by one and are made by trained weights: copies of filters that are never
    trained, such as those of a whitening layer, would stay copies. Channels that a module counts in its own code, such
    as the heads of an attention, stay too. `module` is the whole network, `example` an input (1, C, H, W) to it.
    Raises `ValueError` when there is no such group.
    """

    def __init__(self, module: nn.Module, example: Tensor, *, seed: int = 0) -> None:
        self.seed = seed
        self.table = trace(module, example)
        named, counted = named_tensors(module), _counted(self.table)
        self.sizes = {
            name: own.size for name, own in self.table.groups.items() if _grows(own, named) and name not in counted
        }
        if not self.sizes:
            raise ValueError(" ".join(["no channels of it can be fewer for a while.", *self.table.notes]))

    def at(self, width: float) -> dict[str, int]:
        """Channels of each group at this share of all, rounded, at least one."""
        return {name: max(1, round(width * size)) for name, size in self.sizes.items()}

    def _first(self, width: float) -> dict[str, Tensor]:
        return {name: torch.arange(size) for name, size in self.at(width).items()}

    @torch.no_grad()
    def narrow(self, module: nn.Module, width: float) -> None:
        """Cut the whole, fresh network in place to a share of its channels, as fresh as it was.

        The first channels of each group stay, so that what starts as the identity does so still. Every filter keeps its
        norm, and with it the spread of what it gives; one that read only channels that are gone is drawn anew.
        """
        kept, named, norms = self._first(width), named_tensors(module), {}
        cut = self.table.selection(kept)
        for name, dim in cut:
            if (name, dim) in self.table.readers and named[name].ndim > 1:
                stay = cut.get((name, 1 - dim), torch.arange(named[name].shape[1 - dim]))
                norms[name, dim] = _norms(named[name].index_select(1 - dim, stay.to(named[name].device)), dim)
        drop(module, self.table, kept, inplace=True)
        generator = torch.Generator().manual_seed(self.seed)
        for (name, dim), before in norms.items():
            _restore(named_tensors(module)[name], before, dim, generator)
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def widen(
        self,
        module: nn.Module,
        before: float,
        width: float,
        *,
        optimisers: Sequence[Remembering] = (),
        averages: Iterable[dict[str, Tensor]] = (),
    ) -> None:
        """Give the network that had the share `before` of all channels this share, in place; it computes the same.

        Optimisers of its parameters and averages of its weights go along.
        """
        table = self.table.after(self._first(before))  # channels stand in the same order at any width
        more = {"inplace": True, "optimisers": optimisers, "averages": averages}
        widen(module, table, self.at(width), seed=self.seed, **more)
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _grows(group: Group, named: dict[str, Tensor]) -> bool:
    weights = [named[name] for name, _ in group.producers if named[name].ndim > 1]
    return group.separable and group.copyable and all(weight.requires_grad for weight in weights)


def _counted(table: Table) -> set[str]:
    """The groups whose sizes modules keep in their own code."""
    own = [one.channels for one in table.sizes_in_code]
    return {name for name, group in table.groups.items() if any(group.holds(channels).any() for channels in own)}


def _norms(weight: Tensor, dim: int) -> Tensor:
    """The norm of what each filter reads by, one number along the axis of filters and one along all others."""
    others = [axis for axis in range(weight.ndim) if axis != 1 - dim]
    return torch.linalg.vector_norm(weight, dim=others, keepdim=True)


def _restore(weight: Tensor, norms: Tensor, dim: int, generator: torch.Generator) -> None:
    """Scale filters to these norms; those that have nothing left to scale are drawn at random first."""
    left = _norms(weight, dim)
    lost = (left < 1e-6 * norms).expand_as(weight)
    drawn = torch.randn(weight.shape, generator=generator).to(weight)
    weight.data = torch.where(lost, drawn, weight)
    weight.mul_(norms / _norms(weight, dim).clamp_min(1e-12))
