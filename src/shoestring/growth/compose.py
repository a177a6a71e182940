"""From what a recipe says to one schedule: several that are named together, or stages that are written out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial, reduce
from typing import Any

from shoestring.config import registry
from shoestring.errors import UserError, unknown
from shoestring.growth import Schedule, Stage
from shoestring.growth.stages import parse

_LOOKED_AT = 1000  # moments of a schedule


def compose(method: str, options: Mapping[str, Any], stages: str | None = None) -> Schedule:
    """The schedule of that name, or for `resolution,width` the least of both at each moment.

    An option goes to every schedule that has it. `stages` stand in the place of a name. Raises `UserError` for unknown
    names and options, and for a schedule that does not end with the whole problem.
    """
    if stages is not None:
        if method != "auto" or options:
            raise UserError("--stages says how the problem grows: leave out --grow and its options.")
        return parse(stages)
    if method == "auto" and options:
        raise UserError(f"'{next(iter(options))}' is an option of a growth schedule: name one with --grow.")
    names = ["constant"] if method == "auto" else [name.strip() for name in method.split(",")]
    known = {name: registry.options("grow", name) for name in names}
    for key in options:
        if len(names) > 1 and not any(key in own for own in known.values()):
            raise unknown(f"option of '{method}'", key, {option for own in known.values() for option in own})
    parts = [_bound(name, {k: v for k, v in options.items() if len(names) == 1 or k in known[name]}) for name in names]

    def least(spent: float) -> Stage:
        return reduce(Stage.least, (part(spent) for part in parts))

    schedule = Schedule(",".join(names), least)
    if list(stages_of(schedule))[-1] != Stage():
        raise UserError(f"--grow {method} must end with the whole problem, and with these options it does not.")
    return schedule


def _bound(name: str, options: dict[str, Any]) -> Callable[[float], Stage]:
    return partial(registry.find("grow", name), **registry.bind("grow", name, options))


def stages_of(schedule: Schedule) -> dict[Stage, float]:
    """The different stages of a schedule, in order, and the share of the budget that each takes, to a thousandth."""
    moments = Counter({schedule(0.0): 0})  # the first and the last stage may be as short as that
    moments.update(schedule((moment + 0.5) / _LOOKED_AT) for moment in range(_LOOKED_AT))
    moments[schedule(1.0)] += 0
    return {stage: count / _LOOKED_AT for stage, count in moments.items()}
