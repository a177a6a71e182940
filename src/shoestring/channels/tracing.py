"""From a module to its channel table: trace one forward pass, verify the table, freeze what fails."""

from __future__ import annotations

from torch import Tensor, nn

from shoestring.channels.copying import copy_module
from shoestring.channels.notes import join_names
from shoestring.channels.operations import UnsupportedOperation
from shoestring.channels.outputs import compute_outputs
from shoestring.channels.rules import RULES
from shoestring.channels.table import Table
from shoestring.channels.tabulation import frozen_table, tabulate
from shoestring.channels.tracer import Tracer
from shoestring.channels.verify import verify_table
from shoestring.evaluation.cost import mac_counter
from shoestring.runtime.device import eval_mode


def trace(module: nn.Module, example: Tensor, *, verify: bool = True) -> Table:
    """Return the channel table of a module, from one forward pass of `example` (N, C, H, W) in evaluation mode.

    Channels of inputs and outputs, and those that meet an operation without a rule, are frozen: never pruned or
    widened. With `verify`, all groups lose channels in a trial, each a different number. The pruned network must run,
    keep the shapes of its outputs, and compute the same as with these channels set to zero; where that would change
    statistics over channels, the order of the channels must not matter instead. Groups that fail are frozen. Further
    trials add channels (`Group.copyable`, `Group.extendable`). `notes` gives the reasons for all frozen channels. The
    module is not changed.

    Raises `ValueError` if the module itself fails on the example. A module that runs but cannot be copied or traced
    gets a table without groups.
    """
    try:
        whole = copy_module(module)
    except ValueError as error:
        return frozen_table(module, _count_macs_in_place(module, example), f"nothing can be pruned: {error}")
    with mac_counter() as counter:
        outputs = compute_outputs(whole.eval(), example)
    macs = counter.macs // len(example)
    if not outputs:
        return frozen_table(module, macs, "nothing can be pruned: the outputs contain no tensors and no numbers.")
    try:
        record = Tracer(module, RULES).run(example)
        table = tabulate(module, record, macs)
    except Exception as error:  # code of a third-party module can fail in any way
        cause = str(error) if isinstance(error, UnsupportedOperation) else f"{type(error).__name__}: {error}"
        return frozen_table(module, macs, f"nothing can be pruned: {' '.join(cause.split())[:300]}")
    if verify and table.groups:
        table = verify_table(module, table, example)
    if single := [name for name, group in table.groups.items() if group.size == 1]:
        table = table.with_frozen(set(), f"channels of {join_names(single)} cannot be pruned: each group has only one.")
    return table


def _count_macs_in_place(module: nn.Module, example: Tensor) -> int:
    """Count MACs per image of a module that cannot be copied; weights that the pass recomputes are restored."""
    attributes = [(vars(part), dict(vars(part))) for part in module.modules()]
    with eval_mode(module), mac_counter() as counter:
        compute_outputs(module, example)
    for own, before in attributes:
        own.update({name: value for name, value in before.items() if isinstance(value, Tensor)})
    return counter.macs // len(example)
