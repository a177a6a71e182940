"""What a table says is tried before it is believed: channels are cut and added, and the network must bear it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from math import gcd

import torch
from torch import Tensor, nn

from shoestring.channels.surgery import drop, operate
from shoestring.channels.table import Kept, Table, listed, named_tensors
from shoestring.channels.trial import copied, culprits, lively, outputs, same
from shoestring.channels.widening import copies, doubled, widen


def verified(module: nn.Module, table: Table, example: Tensor) -> Table:
    """The table without groups that do not hold when they are cut for trial, and what can be added to the others."""
    generator = torch.Generator().manual_seed(0)
    if bool((example == example.flatten()[0]).all()):
        example = torch.randn(example.shape, generator=generator).to(example)
    trial = _Trial(lively(module), table, example)
    if not any(bool(one.isfinite().any()) for one in trial.expected):
        return table.without(set(table.groups), "nothing can be cut: no output for the example is a finite number.")
    kept: Kept = {}
    bad: set[str] = set()
    for number, kept in enumerate(unequal_cuts({n: group.size for n, group in table.groups.items()}, generator)):
        names = [name for name in kept if name not in bad]
        bad |= trial.culprits(names, lambda names, kept=kept, first=number == 0: trial.cut(names, kept, first))
    bad |= trial.culprits([name for name in kept if name not in bad], lambda names: trial.trains(names, kept))
    for reason in dict.fromkeys(trial.failures[name] for name in sorted(bad)):
        names = sorted(name for name in bad if trial.failures[name] == reason)
        table = table.without(set(names), f"channels of {listed(names)} stay: cut for trial, {reason}.")
    trial.table = table
    fixed = culprits(list(table.groups), lambda names: trial.copy(names, generator.initial_seed()))
    able = [name for name, group in table.groups.items() if name not in fixed and group.separable]
    closed = {*table.groups} - {*able} | culprits(able, trial.extend)
    return replace(
        table,
        groups={
            name: replace(group, copyable=name not in fixed, extendable=name not in closed)
            for name, group in table.groups.items()
        },
    )


def unequal_cuts(sizes: Mapping[str, int], generator: torch.Generator) -> list[dict[str, Tensor]]:
    """Channels to keep of each group of several, in so many rounds that any two of one size differ in number once.

    Code that arranges one layer's output by the size of another passes as long as both lose equally many, and code that
    divides a size by 2 or 3 as long as what is left can be divided.
    """
    alike: dict[int, list[str]] = {}
    for name, size in sizes.items():
        if size > 1:
            alike.setdefault(size, []).append(name)
    counts = {size: _counts(size, generator) for size in alike}
    rounds = 1
    while any(len(counts[size]) ** rounds <= len(names) for size, names in alike.items()):
        rounds += 1
    found: list[dict[str, Tensor]] = [{} for _ in range(rounds)]
    for size, names in alike.items():
        codes = (code[::-1] for code in product(counts[size], repeat=rounds) if code != (size,) * rounds)
        for name, code in zip(names, islice(codes, len(names)), strict=True):
            for kept, count in zip(found, code):
                if count < size:
                    kept[name] = _some(size, count, generator)
    order = list(sizes)
    return [dict(sorted(kept.items(), key=lambda entry: order.index(entry[0]))) for kept in found]


def _counts(size: int, generator: torch.Generator) -> list[int]:
    """Numbers of channels to keep, the most telling ones first; of few channels all may stay in one of the rounds."""
    if size < 8:
        return [*sorted(range(1, size), key=lambda count: abs(2 * count - size)), size]
    counts = range(-(-size // 4), 3 * size // 4 + 1)
    shuffled = [counts[index] for index in torch.randperm(len(counts), generator=generator).tolist()]
    return sorted(shuffled, key=lambda count: gcd(count, 6) > 1)


def _some(size: int, count: int, generator: torch.Generator) -> Tensor:
    """So many indices below `size` at random; the first and the last go where they can, which fixed slices ask for."""
    if count > size - 2:
        return torch.arange(size - count, size)
    return (1 + torch.randperm(size - 2, generator=generator)[:count]).sort().values


class _Trial:
    """Trials with a network and an example; `failures` says for groups that failed what happened."""

    def __init__(self, module: nn.Module, table: Table, example: Tensor) -> None:
        self.module, self.table, self.example = module, table, example
        self.expected = outputs(module, example)
        self.failures: dict[str, str] = {}
        self._told = ""

    def culprits(self, names: Sequence[str], holds: Callable[[list[str]], bool]) -> set[str]:
        """The groups at fault; what fewest groups failed of is what is told of them."""
        fewest: dict[str, int] = {}

        def noted(some: list[str]) -> bool:
            if holds(some):
                return True
            for name in some:
                if len(some) <= fewest.get(name, len(some)):
                    fewest[name], self.failures[name] = len(some), self._told
            return False

        return culprits(names, noted)

    def cut(self, names: Sequence[str], kept: Kept, thorough: bool) -> bool:
        """Whether the network cut like this runs, keeps the shapes of its outputs, and mistakes no channel for another.

        Separable channels may as well be silenced. With others the order of those that stay must not matter.
        """
        kept = {name: kept[name] for name in names}
        smaller = drop(self.module, self.table, kept)
        found = self._run(smaller)
        if found is None:
            return False
        if [one.shape for one in found] != [one.shape for one in self.expected]:
            self._told = "its outputs had other shapes"
            return False
        separable = [name for name in kept if self.table.groups[name].separable]
        if len(separable) == len(kept):
            return self._runs_as(silence(self.module, self.table, kept), found)
        if not thorough:
            return self._runs_as(reorder(smaller, self.table, kept), found)
        if separable and not self.cut(separable, kept, True):
            return False
        every = {name: torch.arange(self.table.groups[name].size) for name in kept}
        return self._runs_as(reorder(self.module, self.table, every), self.expected) and self._runs_as(
            reorder(smaller, self.table, kept), found
        )

    def trains(self, names: Sequence[str], kept: Kept) -> bool:
        """Whether the network cut like this runs in training mode, if the whole one does."""
        smaller = drop(self.module, self.table, {name: kept[name] for name in names})
        with torch.random.fork_rng([self.example.device] if self.example.is_cuda else []):
            for images in (torch.cat([self.example, self.example]), self.example):  # batch norms need two images
                if self._run(smaller.train(), images) is not None:
                    return True
                told = self._told
                if self._run(copied(self.module).train(), images) is not None:
                    self._told = f"in training mode {told}"
                    return False
        return True

    def copy(self, names: Sequence[str], seed: int) -> bool:
        """Whether the network with some channels of these groups copied computes the same."""
        generator = torch.Generator().manual_seed(seed)
        edits = {}
        for name in names:
            group = self.table.groups[name]
            extra = 1 + int(torch.randint(group.size, (), generator=generator))
            edits[name] = copies(group, extra, generator) if group.separable else doubled(group)
        return self._runs_as(operate(self.module, self.table, edits), self.expected)

    def extend(self, names: Sequence[str]) -> bool:
        """Whether the network with random channels that nothing reads computes the same."""
        sizes = {name: self.table.groups[name].size for name in names}
        wider = widen(
            self.module, self.table, {name: size + 1 + size // 2 for name, size in sizes.items()}, new="fresh"
        )
        return self._runs_as(wider, self.expected)

    def _run(self, module: nn.Module, example: Tensor | None = None) -> list[Tensor] | None:
        try:
            return outputs(module, self.example if example is None else example)
        except ValueError as error:
            cause = error.__cause__ or error
            self._told = f"the network raised {type(cause).__name__}: {' '.join(str(cause).split())[:200]}"
            return None

    def _runs_as(self, module: nn.Module, expected: Sequence[Tensor]) -> bool:
        found = self._run(module)
        if found is None:
            return False
        self._told = "its outputs changed"
        return same(found, expected)


def silence(module: nn.Module, table: Table, kept: Kept) -> nn.Module:
    """A copy of the module of the same size in which no layer reads the channels that are not kept."""
    quiet = copied(module)
    named = named_tensors(quiet)
    gone = ~table.stays(kept)
    for name, dim in table.readers:
        numbers = table.axes.get((name, dim))
        if numbers is not None and gone[numbers].any():
            silent = gone[numbers].nonzero()[:, 0].to(named[name].device)
            named[name].data = named[name].data.index_fill(dim, silent, 0.0)
    return quiet


def reorder(smaller: nn.Module, table: Table, kept: Kept) -> nn.Module:
    """A copy of a module that `drop` made with these channels, in which they stand the other way around everywhere."""
    changed = copied(smaller)
    named = named_tensors(changed)
    stays = table.stays(kept)
    takes = torch.cat([torch.arange(table.size), torch.tensor([-1])])  # whose place each channel takes
    for name, own in kept.items():
        takes[table.groups[name].start + own] = table.groups[name].start + own.flip(0)
    for (name, dim), numbers in table.axes.items():
        numbers = numbers[stays[numbers]]
        source = torch.empty_like(numbers)  # equal numbers are equally many for all channels of a group
        source[takes[numbers].argsort(stable=True)] = numbers.argsort(stable=True)
        named[name].data = named[name].data.index_select(dim, source.to(named[name].device))
    return changed
