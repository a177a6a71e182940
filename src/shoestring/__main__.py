"""Entry point of `python -m shoestring` and of the command `shoestring`."""

from __future__ import annotations

import os
import signal


def entry() -> None:
    """Run the command line; during imports, Ctrl-C exits silently."""
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # set by shells for background jobs
            signal.signal(number, _exit)
    from shoestring.cli.main import entry as run

    run()


def _exit(*_: object) -> None:
    """Exit at once: there is no state to save yet."""
    os._exit(130)


if __name__ == "__main__":
    entry()
