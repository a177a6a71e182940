"""Growing width: a network that starts narrow and ends exactly as requested."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor, nn

from shoestring.channels import Group, StatefulOptimizer, Table, drop, trace, widen
from shoestring.channels.table import named_tensors


class GrowableChannels:
    """The channel groups of a network that can be narrow at first, and their final sizes.

    These are the groups that can be copied channel by channel and are produced by trainable weights: copies of filters
    that are never trained, such as those of a whitening layer, would remain copies. Groups whose size is also a
    module attribute, such as attention heads, are excluded. `module` is the whole network, `example` an input
    (1, C, H, W). Raises `ValueError` if there is no such group.
    """

    def __init__(self, module: nn.Module, example: Tensor, *, seed: int = 0) -> None:
        self.seed = seed
        self.table = trace(module, example)
        named, counted = named_tensors(module), _groups_in_attributes(self.table)
        self.sizes = {
            name: group.size
            for name, group in self.table.groups.items()
            if _is_growable(group, named) and name not in counted
        }
        if not self.sizes:
            raise ValueError(" ".join(["it has no channels that can be added later.", *self.table.notes]))

    def sizes_at(self, width: float) -> dict[str, int]:
        """Return the number of channels of each group at this fraction of the width, rounded, at least one."""
        return {name: max(1, round(width * size)) for name, size in self.sizes.items()}

    def _first(self, width: float) -> dict[str, Tensor]:
        return {name: torch.arange(size) for name, size in self.sizes_at(width).items()}

    @torch.no_grad()
    def narrow(self, module: nn.Module, width: float) -> None:
        """Reduce the whole, freshly initialized network in place to a fraction of its channels, as if initialized so.

        The first channels of each group are kept, so that what is initialized as the identity remains it. Every filter
        keeps its norm, and with it the scale of its output; one that read only dropped channels is drawn again.
        """
        kept, named, norms = self._first(width), named_tensors(module), {}
        kept_indices = self.table.kept_indices(kept)
        for name, dim in kept_indices:
            if (name, dim) in self.table.consumers and named[name].ndim > 1:
                filters = kept_indices.get((name, 1 - dim), torch.arange(named[name].shape[1 - dim]))
                norms[name, dim] = _norms(named[name].index_select(1 - dim, filters.to(named[name].device)), dim)
        drop(module, self.table, kept, inplace=True)
        generator = torch.Generator().manual_seed(self.seed)
        for (name, dim), before in norms.items():
            _restore_norms(named_tensors(module)[name], before, dim, generator)
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def widen(
        self,
        module: nn.Module,
        before: float,
        width: float,
        *,
        optimizers: Sequence[StatefulOptimizer] = (),
        averages: Iterable[dict[str, Tensor]] = (),
    ) -> None:
        """Widen the network in place from the fraction `before` to this one, without changing its function.

        The state of optimizers of its parameters and averages of its weights are widened too.
        """
        table = self.table.after(self._first(before))  # the order of channels does not depend on the width
        widen(
            module,
            table,
            self.sizes_at(width),
            seed=self.seed,
            inplace=True,
            optimizers=optimizers,
            averages=averages,
        )
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def _is_growable(group: Group, named: dict[str, Tensor]) -> bool:
    weights = [named[name] for name, _ in group.producers if named[name].ndim > 1]
    return group.separable and group.copyable and all(weight.requires_grad for weight in weights)


def _groups_in_attributes(table: Table) -> set[str]:
    """Return the groups whose sizes modules store in attributes."""
    ids = [one.channels for one in table.size_attributes]
    return {name for name, group in table.groups.items() if any(group.contains(own).any() for own in ids)}


def _norms(weight: Tensor, dim: int) -> Tensor:
    """Return the norm of each filter, keeping all axes; `dim` is the axis of the channels that filters read."""
    others = [axis for axis in range(weight.ndim) if axis != 1 - dim]
    return torch.linalg.vector_norm(weight, dim=others, keepdim=True)


def _restore_norms(weight: Tensor, norms: Tensor, dim: int, generator: torch.Generator) -> None:
    """Scale filters to these norms; filters with nothing left to scale are drawn at random first."""
    remaining = _norms(weight, dim)
    lost = (remaining < 1e-6 * norms).expand_as(weight)
    drawn = torch.randn(weight.shape, generator=generator).to(weight)
    weight.data = torch.where(lost, drawn, weight)
    weight.mul_(norms / _norms(weight, dim).clamp_min(1e-12))
