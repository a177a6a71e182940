"""How the processes of a team set up; and all but the first from their beginning to their end."""

from __future__ import annotations

import signal
import sys
from typing import Any

from shoestring.errors import UserError
from shoestring.runtime.context import Context, prepare
from shoestring.runtime.distributed import Team, gathered, gone


def prepared(machine: dict[str, Any], team: Team | None, **rest: Any) -> Context:
    """`context.prepare` on all processes at once; a device that one of them lacks is a `UserError` on all.

    The first process tells the others what they hand in: settings of `prepare`.
    """
    if team is None:
        return prepare(**machine, **rest)
    if team.rank == 0:
        team.tell(machine)
    with team.agreeing():
        context = prepare(**machine, **rest, team=team)
    team.connect(context.device)
    return context


def follow() -> int:
    """Do what the first process tells, quietly, to the end; the exit code.

    Signals to end go to all processes of a team; only the first one decides what comes of them.
    """
    from shoestring.training.distributed import Helper

    with gathered() as team:
        assert team is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        try:
            if (machine := team.hear()) is not None:
                Helper(team, prepared(machine, team)).work()
        except UserError:  # the first process tells it
            return 2
        except RuntimeError as error:
            if not gone(error):
                raise
            print(f"process {team.rank}: the first process has ended", file=sys.stderr)
            return 1
    return 0
