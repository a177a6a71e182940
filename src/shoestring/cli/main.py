"""`shoestring VERB ...`: finds the verb, runs it, and turns errors into one line and an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

from shoestring.cli.process import secure_streams
from shoestring.errors import BudgetTooSmall, UserError, messages_with_flags, quoted, unknown
from shoestring.escaping import printable
from shoestring.runtime.distributed import rank
from shoestring.suggestions import nearest

_STEPS = "shoestring.cli.run"
VERBS = {
    "run": (_STEPS, "images in, a trained, shrunk and measured classifier out"),
    "select": (_STEPS, "choose the training images worth having"),
    "train": (_STEPS, "train a network, ending exactly at the deadline"),
    "prune": (_STEPS, "cut a trained network to size and train it on"),
    "evaluate": ("shoestring.cli.evaluate", "measure a finished run on other images"),
    "predict": ("shoestring.cli.predict", "name the class of image files"),
    "report": ("shoestring.cli.report", "show the results of a finished run"),
    "list": ("shoestring.cli.list", "what there is to choose from, and its options"),
    "check": ("shoestring.cli.check", "look at data and machine before spending anything"),
}

_LONGEST = 2000  # characters of an error message

_HELP = """usage: shoestring VERB ...

Image classifiers on a budget of examples, minutes and megabytes.

{verbs}

examples:
  shoestring run digits --examples 300 --time 60s
  shoestring run photos/ --time 5m --macs 0.5
  shoestring run cifar10 --examples 1000 --time 10m --baseline
  shoestring predict runs/NAME photos/new/*.jpg

`shoestring VERB --help` tells the flags of a verb. Results go to stdout, progress to stderr; where
nobody reads them any more they are dropped, and the work goes on.
Exit code: 0 done, 2 wrong input, 3 the budget is too small, 130 interrupted (the same command goes on).
"""


@messages_with_flags()
def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; its exit code."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        if rank() > 0:
            return follow(words)
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
            raise UserError(f"unknown flag {quoted(words[0])}.{guess} A verb comes first. (`shoestring --help`)")
        if words[0] not in VERBS:
            raise unknown("verb", words[0], VERBS, hint="(`shoestring --help`)")
        module = importlib.import_module(VERBS[words[0]][0])
        return module.main(words[0], words[1:])
    except KeyboardInterrupt:
        print("\ninterrupted: what was finished is kept, and the same command goes on from there", file=sys.stderr)
        return 130
    except (UserError, OSError) as error:
        if "--debug" in words:
            raise
        if isinstance(error, OSError) and not _about_files(error):
            raise
        print(f"error: {_line(error)}", file=sys.stderr)
        return 3 if isinstance(error, BudgetTooSmall) else 2


def entry() -> None:
    """Run the command of this process and leave at once: taking a large library down again costs seconds."""
    secure_streams()
    try:
        code = main()
    except SystemExit as ended:  # of the parser, after --help
        code = int(ended.code or 0)
    except KeyboardInterrupt:  # once more, while the first one was being heeded
        code = 130
    try:
        sys.stdout.flush()
    except OSError as error:
        if not code:
            print(f"error: the results cannot be written: {_line(error)}", file=sys.stderr)
        code = code or 2
    sys.stderr.flush()
    os._exit(code)


def follow(words: Sequence[str]) -> int:
    """Run a process that is not the first of its team: that one reads the words, and tells it what to do."""
    if not words or VERBS.get(words[0], ("",))[0] != _STEPS:
        return 0
    return importlib.import_module("shoestring.cli.distributed").run_worker()


def _about_files(error: OSError) -> bool:
    """Whether the system says something about a file or a disk that the user can mend."""
    return error.errno is not None


def _line(error: Exception) -> str:
    if isinstance(error, OSError):
        return printable(f"{error.strerror}: {error.filename}" if error.filename else error.strerror)
    text = printable(" ".join(str(error).split()))
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
