"""What third-party code prints, kept from users."""

from __future__ import annotations

import contextlib
import io
import logging
import os
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

_STDOUT = 1  # the file descriptor


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Suppress what exporters and quantizers of networks print, log and warn about, which is not for users."""
    disabled = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()), _no_output_of_libraries():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(disabled)


@contextlib.contextmanager
def _no_output_of_libraries() -> Iterator[None]:
    """Suppress what compiled code writes to the standard output of the process."""
    if sys.__stdout__ is not None:
        with contextlib.suppress(OSError, ValueError):  # nobody reads it, or it is closed
            sys.__stdout__.flush()
    try:
        original = os.dup(_STDOUT)
    except OSError:  # the process has none
        yield
        return
    try:
        with Path(os.devnull).open("wb") as nowhere:
            os.dup2(nowhere.fileno(), _STDOUT)
        yield
    finally:
        os.dup2(original, _STDOUT)
        os.close(original)
