"""From a module to its table: trace one forward pass, try what the table says, freeze what does not hold."""

from __future__ import annotations

from torch import Tensor, nn

from shoestring.channels.rules import RULES
from shoestring.channels.table import Table, listed, tabulate, untouched
from shoestring.channels.tracer import Tracer, Unknown
from shoestring.channels.trial import copied, outputs
from shoestring.channels.verify import verified
from shoestring.evaluation.cost import counting
from shoestring.runtime.device import eval_mode


def trace(module: nn.Module, example: Tensor, *, verify: bool = True) -> Table:
    """The channel table of a module, from one forward pass of `example` (N, C, H, W) in evaluation mode.

    Channels of the input and of the output, and those that meet an operation without a rule, are never cut. With
    `verify` every group loses channels for trial, each another number of them: the result must run, keep the shapes of
    the outputs, and give what silencing the same channels gives; where statistics over channels change, the order of
    the channels must not matter instead. Groups for which this does not hold are frozen. Then channels are added for
    trial (`Group.copyable`, `Group.extendable`). `notes` says for all channels that stay why they do. The module is
    left as it is.

    Raises `ValueError` when the module itself fails on the example. A module that runs but cannot be copied or traced
    gives a table without groups.
    """
    try:
        whole = copied(module)
    except ValueError as error:
        return untouched(module, _macs_in_place(module, example), f"nothing can be cut: {error}")
    with counting() as counter:
        found = outputs(whole.eval(), example)
    macs = counter.macs // len(example)
    if not found:
        return untouched(module, macs, "nothing can be cut: the outputs hold no tensors and no numbers.")
    try:
        tracer = Tracer(module, RULES)
        tracer.run(example)
        table = tabulate(module, tracer, macs)
    except Exception as error:  # whatever a foreign module does with its tensors: it is then left whole
        told = str(error) if isinstance(error, Unknown) else f"{type(error).__name__}: {error}"
        return untouched(module, macs, f"nothing can be cut: {' '.join(told.split())[:300]}")
    if verify and table.groups:
        table = verified(module, table, example)
    if single := [name for name, group in table.groups.items() if group.size == 1]:
        table = table.without(set(), f"channels of {listed(single)} stay: each group has a single one.")
    return table


def _macs_in_place(module: nn.Module, example: Tensor) -> int:
    """Multiply-accumulates of one image for a module that cannot be copied; what it computes of its weights stays."""
    computed = [(vars(part), dict(vars(part))) for part in module.modules()]
    with eval_mode(module), counting() as counter:
        outputs(module, example)
    for own, before in computed:
        own.update({name: value for name, value in before.items() if isinstance(value, Tensor)})
    return counter.macs // len(example)
