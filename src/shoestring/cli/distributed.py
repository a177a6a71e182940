"""Setup of the processes of a distributed job, and the command line of its workers."""

from __future__ import annotations

import signal
import sys
from typing import Any

from shoestring.errors import UserError
from shoestring.runtime.context import Context, prepare
from shoestring.runtime.distributed import Distributed, connection_lost, process_group


def prepare_all(settings: dict[str, Any], job: Distributed | None, **rest: Any) -> Context:
    """Call `prepare` in all processes together; a device that one of them lacks raises `UserError` in all.

    Rank 0 broadcasts the settings, which the workers pass in.
    """
    if job is None:
        return prepare(**settings, **rest)
    if job.rank == 0:
        job.broadcast(settings)
    with job.shared_errors():
        context = prepare(**settings, **rest, distributed=job)
    job.connect(context.device)
    return context


def run_worker() -> int:
    """Follow rank 0 silently to the end of the job; return the exit code.

    Termination signals are sent to all processes of a job; only rank 0 handles them.
    """
    from shoestring.training.distributed import Worker

    with process_group() as job:
        assert job is not None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        try:
            if (settings := job.receive()) is not None:
                Worker(job, prepare_all(settings, job)).run()
        except UserError:  # printed by rank 0
            return 2
        except RuntimeError as error:
            if not connection_lost(error):
                raise
            print(f"process {job.rank}: rank 0 has ended", file=sys.stderr)
            return 1
    return 0
