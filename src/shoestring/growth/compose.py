"""One growth schedule from several: named schedules combined, or explicit stages."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial, reduce
from typing import Any

from shoestring.config import registry
from shoestring.config.stages import Stages
from shoestring.errors import UserError, no_option
from shoestring.growth import Schedule, Stage

_SAMPLES = 1000  # points at which a schedule is evaluated


def compose(grow: str | Stages, options: Mapping[str, Any] | None = None) -> Schedule:
    """Return the schedule of that name, or for several names (`resolution,width`) their minimum at each moment.

    An option is passed to every schedule that has it. Explicit stages have no options. Raises `UserError` for unknown
    names and options, and for a schedule that does not end with the whole network on full images.
    """
    options = options or {}
    if isinstance(grow, Stages):
        stages, ends = [Stage(*part) for part in grow.parts], grow.ends
        return Schedule(grow, lambda spent: stages[bisect_right(ends, spent)])
    names = [name.strip() for name in grow.split(",")]
    known = {name: registry.options("grow", name) for name in names}
    for key in options:
        if len(names) > 1 and not any(key in own for own in known.values()):
            raise no_option(f"growth schedule '{grow}'", key, {option for own in known.values() for option in own})
    parts = [_bound(name, {k: v for k, v in options.items() if len(names) == 1 or k in known[name]}) for name in names]

    def minimum(spent: float) -> Stage:
        return reduce(Stage.minimum, (part(spent) for part in parts))

    schedule = Schedule(",".join(names), minimum)
    if list(stages_of(schedule))[-1] != Stage():
        raise UserError(f"--grow {grow} must end with the whole network on full images; these options do not.")
    return schedule


def _bound(name: str, options: dict[str, Any]) -> Callable[[float], Stage]:
    return partial(registry.find("grow", name), **registry.bind("grow", name, options))


def stages_of(schedule: Schedule) -> dict[Stage, float]:
    """Return the distinct stages of a schedule, in order, and the fraction of the budget each takes, to 0.001."""
    counts = Counter({schedule(0.0): 0})  # the first and the last stage may be shorter than the resolution
    counts.update(schedule((sample + 0.5) / _SAMPLES) for sample in range(_SAMPLES))
    counts[schedule(1.0)] += 0
    return {stage: count / _SAMPLES for stage, count in counts.items()}
