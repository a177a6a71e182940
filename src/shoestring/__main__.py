"""`python -m shoestring`, and the command `shoestring`."""

from __future__ import annotations

import os
import signal


def entry() -> None:
    """Run the command of this process; while it imports, Ctrl-C ends it quietly."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as a shell sets it for work in the background
            signal.signal(number, _leave)
    from shoestring.cli.main import entry as run

    run()


def _leave(*_: object) -> None:
    """Exit at once: nothing has been begun that could be kept."""
    os._exit(130)


if __name__ == "__main__":
    entry()
