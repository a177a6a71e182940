"""Verification of a channel table: channels are removed and added in trials, and the network must still work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import islice, product
from math import gcd

import torch
from torch import Tensor, nn

from shoestring.channels.bisection import find_failing
from shoestring.channels.copying import copy_module, nondegenerate_copy
from shoestring.channels.notes import join_names
from shoestring.channels.outputs import compute_outputs, outputs_match
from shoestring.channels.surgery import apply_edits, drop
from shoestring.channels.table import Kept, Table, named_tensors
from shoestring.channels.widening import copy_evenly, duplicate_all, widen


def verify_table(module: nn.Module, table: Table, example: Tensor) -> Table:
    """Return the table with groups that fail a trial frozen, and with what can be added to the others."""
    generator = torch.Generator().manual_seed(0)
    if bool((example == example.flatten()[0]).all()):
        example = torch.randn(example.shape, generator=generator).to(example)
    trials = _Trials(nondegenerate_copy(module), table, example)
    if not any(bool(one.isfinite().any()) for one in trials.expected):
        return table.with_frozen(
            set(table.groups), "nothing can be pruned: the outputs for the example contain no finite number."
        )
    kept: Kept = {}
    failing: set[str] = set()
    for index, kept in enumerate(unequal_cuts({n: group.size for n, group in table.groups.items()}, generator)):
        names = [name for name in kept if name not in failing]
        failing |= trials.find_failing(
            names, lambda names, kept=kept, first=index == 0: trials.prune(names, kept, first)
        )
    names = [name for name in kept if name not in failing]
    failing |= trials.find_failing(names, lambda names: trials.train(names, kept))
    for failure in dict.fromkeys(trials.failures[name] for name in sorted(failing)):
        names = sorted(name for name in failing if trials.failures[name] == failure)
        table = table.with_frozen(set(names), f"channels of {join_names(names)} are frozen: when pruned, {failure}.")
    trials.table = table
    not_copyable = find_failing(list(table.groups), lambda names: trials.copy(names, generator.initial_seed()))
    candidates = [name for name, group in table.groups.items() if name not in not_copyable and group.separable]
    not_extendable = {*table.groups} - {*candidates} | find_failing(candidates, trials.extend)
    return replace(
        table,
        groups={
            name: replace(group, copyable=name not in not_copyable, extendable=name not in not_extendable)
            for name, group in table.groups.items()
        },
    )


def unequal_cuts(sizes: Mapping[str, int], generator: torch.Generator) -> list[dict[str, Tensor]]:
    """Draw channels to keep per group, in as few rounds as make the counts of any two groups of equal size differ.

    Code that reshapes one layer's output by the size of another works as long as both lose equally many channels, and
    code that divides a size by 2 or 3 works as long as the remaining size is divisible.
    """
    by_size: dict[int, list[str]] = {}
    for name, size in sizes.items():
        if size > 1:
            by_size.setdefault(size, []).append(name)
    counts = {size: _counts(size, generator) for size in by_size}
    rounds = 1
    while any(len(counts[size]) ** rounds <= len(names) for size, names in by_size.items()):
        rounds += 1
    cuts: list[dict[str, Tensor]] = [{} for _ in range(rounds)]
    for size, names in by_size.items():
        codes = (code[::-1] for code in product(counts[size], repeat=rounds) if code != (size,) * rounds)
        for name, code in zip(names, islice(codes, len(names)), strict=True):
            for kept, count in zip(cuts, code):
                if count < size:
                    kept[name] = _sample(size, count, generator)
    order = list(sizes)
    return [dict(sorted(kept.items(), key=lambda entry: order.index(entry[0]))) for kept in cuts]


def _counts(size: int, generator: torch.Generator) -> list[int]:
    """Return numbers of channels to keep, most informative first; small groups may keep all in some of the rounds."""
    if size < 8:
        return [*sorted(range(1, size), key=lambda count: abs(2 * count - size)), size]
    counts = range(-(-size // 4), 3 * size // 4 + 1)
    shuffled = [counts[index] for index in torch.randperm(len(counts), generator=generator).tolist()]
    return sorted(shuffled, key=lambda count: gcd(count, 6) > 1)


def _sample(size: int, count: int, generator: torch.Generator) -> Tensor:
    """Draw `count` indices below `size`; the first and last index, which slices often use, are excluded if possible."""
    if count > size - 2:
        return torch.arange(size - count, size)
    return (1 + torch.randperm(size - 2, generator=generator)[:count]).sort().values


class _Trials:
    """Trials with a network and an example; `failures` describes what went wrong for each group that failed."""

    def __init__(self, module: nn.Module, table: Table, example: Tensor) -> None:
        self.module, self.table, self.example = module, table, example
        self.expected = compute_outputs(module, example)
        self.failures: dict[str, str] = {}
        self._failure = ""

    def find_failing(self, names: Sequence[str], passes: Callable[[list[str]], bool]) -> set[str]:
        """Return the failing groups, recording for each the failure of the smallest set of groups that it was in."""
        smallest: dict[str, int] = {}

        def recorded(subset: list[str]) -> bool:
            if passes(subset):
                return True
            for name in subset:
                if len(subset) <= smallest.get(name, len(subset)):
                    smallest[name], self.failures[name] = len(subset), self._failure
            return False

        return find_failing(names, recorded)

    def prune(self, names: Sequence[str], kept: Kept, thorough: bool) -> bool:
        """Return whether the pruned network runs, keeps the shapes of its outputs, and confuses no channels.

        Pruning separable channels must equal setting them to zero. For others, the order of the kept channels must not
        matter.
        """
        kept = {name: kept[name] for name in names}
        smaller = drop(self.module, self.table, kept)
        outputs = self._run(smaller)
        if outputs is None:
            return False
        if [one.shape for one in outputs] != [one.shape for one in self.expected]:
            self._failure = "the shapes of the outputs change"
            return False
        separable = [name for name in kept if self.table.groups[name].separable]
        if len(separable) == len(kept):
            return self._computes(zero_out(self.module, self.table, kept), outputs)
        if not thorough:
            return self._computes(reverse_channels(smaller, self.table, kept), outputs)
        if separable and not self.prune(separable, kept, True):
            return False
        all_kept = {name: torch.arange(self.table.groups[name].size) for name in kept}
        return self._computes(reverse_channels(self.module, self.table, all_kept), self.expected) and self._computes(
            reverse_channels(smaller, self.table, kept), outputs
        )

    def train(self, names: Sequence[str], kept: Kept) -> bool:
        """Return whether the pruned network runs in training mode, if the whole one does."""
        smaller = drop(self.module, self.table, {name: kept[name] for name in names})
        with torch.random.fork_rng([self.example.device] if self.example.is_cuda else []):
            for images in (torch.cat([self.example, self.example]), self.example):  # batch norms may need two images
                if self._run(smaller.train(), images) is not None:
                    return True
                failure = self._failure
                if self._run(copy_module(self.module).train(), images) is not None:
                    self._failure = f"in training mode {failure}"
                    return False
        return True

    def copy(self, names: Sequence[str], seed: int) -> bool:
        """Return whether the network computes the same after some channels of these groups are duplicated."""
        generator = torch.Generator().manual_seed(seed)
        edits = {}
        for name in names:
            group = self.table.groups[name]
            extra = 1 + int(torch.randint(group.size, (), generator=generator))
            edits[name] = copy_evenly(group, extra, generator) if group.separable else duplicate_all(group)
        return self._computes(apply_edits(self.module, self.table, edits), self.expected)

    def extend(self, names: Sequence[str]) -> bool:
        """Return whether the network computes the same with additional random channels that nothing reads."""
        sizes = {name: self.table.groups[name].size for name in names}
        wider = widen(
            self.module, self.table, {name: size + 1 + size // 2 for name, size in sizes.items()}, new="fresh"
        )
        return self._computes(wider, self.expected)

    def _run(self, module: nn.Module, example: Tensor | None = None) -> list[Tensor] | None:
        try:
            return compute_outputs(module, self.example if example is None else example)
        except ValueError as error:
            cause = error.__cause__ or error
            self._failure = f"the network raises {type(cause).__name__}: {' '.join(str(cause).split())[:200]}"
            return None

    def _computes(self, module: nn.Module, expected: Sequence[Tensor]) -> bool:
        outputs = self._run(module)
        if outputs is None:
            return False
        self._failure = "the outputs are wrong"
        return outputs_match(outputs, expected)


def zero_out(module: nn.Module, table: Table, kept: Kept) -> nn.Module:
    """Return a copy of the module, of the same size, whose layers read the channels that are not kept as zero."""
    copied = copy_module(module)
    named = named_tensors(copied)
    dropped = ~table.kept_mask(kept)
    for name, dim in table.consumers:
        ids = table.axes.get((name, dim))
        if ids is not None and dropped[ids].any():
            indices = dropped[ids].nonzero()[:, 0].to(named[name].device)
            named[name].data = named[name].data.index_fill(dim, indices, 0.0)
    return copied


def reverse_channels(smaller: nn.Module, table: Table, kept: Kept) -> nn.Module:
    """Return a copy of a module that `drop` made with these channels, with the order of the channels reversed."""
    copied = copy_module(smaller)
    named = named_tensors(copied)
    mask = table.kept_mask(kept)
    new_positions = torch.cat([torch.arange(table.size), torch.tensor([-1])])  # the channel whose position each takes
    for name, own in kept.items():
        new_positions[table.groups[name].start + own] = table.groups[name].start + own.flip(0)
    for (name, dim), ids in table.axes.items():
        ids = ids[mask[ids]]
        source = torch.empty_like(ids)  # all channels of a group occupy equally many indices
        source[new_positions[ids].argsort(stable=True)] = ids.argsort(stable=True)
        named[name].data = named[name].data.index_select(dim, source.to(named[name].device))
    return copied
