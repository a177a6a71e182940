"""From a recipe's growth settings to one schedule: named schedules combined, or explicit stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from functools import partial, reduce
from typing import Any

from shoestring.config import registry
from shoestring.errors import UserError, unknown
from shoestring.growth import Schedule, Stage
from shoestring.growth.stages import parse_stages

_SAMPLES = 1000  # points at which a schedule is evaluated


def compose(method: str, options: Mapping[str, Any], stages: str | None = None) -> Schedule:
    """Return the schedule of that name, or for several names (`resolution,width`) their minimum at each moment.

    An option is passed to every schedule that has it. `stages` are given instead of a name. Raises `UserError` for
    unknown names and options, and for a schedule that does not end with the whole network on full images.
    """
    if stages is not None:
        if method != "auto" or options:
            raise UserError("--stages replaces growth schedules: leave out --grow and its options.")
        return parse_stages(stages)
    if method == "auto" and options:
        raise UserError(f"'{next(iter(options))}' is an option of a growth schedule: name one with --grow.")
    names = ["constant"] if method == "auto" else [name.strip() for name in method.split(",")]
    known = {name: registry.options("grow", name) for name in names}
    for key in options:
        if len(names) > 1 and not any(key in own for own in known.values()):
            raise unknown(f"option of '{method}'", key, {option for own in known.values() for option in own})
    parts = [_bound(name, {k: v for k, v in options.items() if len(names) == 1 or k in known[name]}) for name in names]

    def minimum(spent: float) -> Stage:
        return reduce(Stage.minimum, (part(spent) for part in parts))

    schedule = Schedule(",".join(names), minimum)
    if list(stages_of(schedule))[-1] != Stage():
        raise UserError(f"--grow {method} must end with the whole network on full images; these options do not.")
    return schedule


def _bound(name: str, options: dict[str, Any]) -> Callable[[float], Stage]:
    return partial(registry.find("grow", name), **registry.bind("grow", name, options))


def stages_of(schedule: Schedule) -> dict[Stage, float]:
    """Return the distinct stages of a schedule, in order, and the fraction of the budget each takes, to 0.001."""
    counts = Counter({schedule(0.0): 0})  # the first and the last stage may be shorter than the resolution
    counts.update(schedule((sample + 0.5) / _SAMPLES) for sample in range(_SAMPLES))
    counts[schedule(1.0)] += 0
    return {stage: count / _SAMPLES for stage, count in counts.items()}
