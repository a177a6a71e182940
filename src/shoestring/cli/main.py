"""`shoestring VERB ...`: runs the verb, and turns errors into one line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from shoestring.cli.process import protect_streams
from shoestring.errors import BudgetTooSmall, UserError, messages_with_flags, quoted, unknown
from shoestring.escaping import printable
from shoestring.runtime.distributed import rank
from shoestring.suggestions import nearest

_RUN = "shoestring.cli.run"
VERBS = {
    "run": (_RUN, "select, train, prune and evaluate within one budget"),
    "select": (_RUN, "select the most valuable training images"),
    "train": (_RUN, "train a network, ending exactly at the deadline"),
    "prune": (_RUN, "prune a trained network to size, and fine-tune it"),
    "sweep": ("shoestring.cli.sweep", "compare settings on validation images: grid, random, TPE, successive halving"),
    "tickets": ("shoestring.cli.tickets", "find lottery tickets: small networks that train as well as large ones"),
    "evaluate": ("shoestring.cli.evaluate", "evaluate a finished run on other images"),
    "predict": ("shoestring.cli.predict", "predict the classes of image files"),
    "export": ("shoestring.cli.export", "write a model as a file for other programs: ONNX, Triton and others"),
    "serve": ("shoestring.cli.serve", "serve models over HTTP: a page, an API for images, metrics"),
    "compare": ("shoestring.cli.compare", "compare finished runs, with tests of their differences"),
    "report": ("shoestring.cli.report", "print the results of a finished run, and write its report"),
    "list": ("shoestring.cli.list", "list methods, models and data sources with their options"),
    "check": ("shoestring.cli.check", "check the machine and the data before spending a budget"),
}

_MAX_LENGTH = 2000  # characters of an error message

_HELP = """usage: shoestring VERB ...

Image classifiers on a budget of examples, minutes and megabytes.

{verbs}

examples:
  shoestring run digits --examples 300 --time 60s
  shoestring run photos/ --time 5m --macs 0.5
  shoestring run cifar10 --examples 1000 --time 10m --baseline
  shoestring sweep digits --over train.learning_rate=0.1,0.2 --time 5m
  shoestring predict runs/NAME photos/new/ --csv predictions.csv
  shoestring export runs/NAME
  shoestring serve runs/NAME

`shoestring VERB --help` lists the flags of a verb. Results are written to stdout, progress to stderr;
if a reader exits, output is dropped and the command continues.
Exit codes: 0 done, 2 user error, 3 budget too small, 130 interrupted (repeat the command to resume).
"""


@messages_with_flags()
def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run_worker(words) if rank() > 0 else _run(words)
    except KeyboardInterrupt:
        print("\ninterrupted: finished work is saved, and the same command resumes it", file=sys.stderr)
        return 130
    except (UserError, OSError) as error:
        if "--debug" in words or (isinstance(error, OSError) and error.errno is None):
            raise  # an OSError without errno is not about a file or a disk
        print(f"error: {_line(error)}", file=sys.stderr)
        return 3 if isinstance(error, BudgetTooSmall) else 2


def _run(words: list[str]) -> int:
    if words[:1] == ["help"] and len(words) > 1:
        words = [words[1], "--help"]
    if not words or words[0] in ("-h", "--help", "help"):
        print(_HELP.format(verbs="\n".join(f"  {verb:<10}{about}" for verb, (_, about) in VERBS.items())), end="")
        return 0
    if words[0] in ("-V", "--version"):
        from shoestring import __version__

        print(f"shoestring {__version__}")
        return 0
    if words[0].startswith("-"):
        near = nearest(words[0], ("--help", "--version"))
        guess = f" Did you mean {near}?" if near else ""
        raise UserError(f"unknown flag {quoted(words[0])}.{guess} The verb comes first. (`shoestring --help`)")
    if words[0] not in VERBS:
        raise unknown("verb", words[0], VERBS, hint="(`shoestring --help`)")
    module = importlib.import_module(VERBS[words[0]][0])
    return module.main(words[0], words[1:])


def _run_worker(words: list[str]) -> int:
    """Run a worker of a distributed job: rank 0 parses the command line and directs it."""
    if not words or VERBS.get(words[0], ("",))[0] != _RUN:
        return 0
    return importlib.import_module("shoestring.cli.distributed").run_worker()


def entry() -> None:
    """Run the command of this process, and exit at once: unloading large libraries takes seconds."""
    protect_streams()
    try:
        code = main()
    except SystemExit as ended:  # raised by the parser after --help
        code = int(ended.code or 0)
    except KeyboardInterrupt:  # a second one, while the first was handled
        code = 130
    try:
        sys.stdout.flush()
    except OSError as error:
        if not code:
            print(f"error: cannot write the results: {_line(error)}", file=sys.stderr)
        code = code or 2
    sys.stderr.flush()
    os._exit(code)


def _line(error: Exception) -> str:
    if isinstance(error, OSError):
        return printable(f"{error.strerror}: {error.filename}" if error.filename else error.strerror)
    text = printable(" ".join(str(error).split()))
    return text if len(text) <= _MAX_LENGTH else f"{text[:_MAX_LENGTH]}..."
