"""`shoestring report RUN`: the results of a finished run, shown again, and its page written anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from shoestring.cli.flags import Parser, add_output
from shoestring.errors import UserError
from shoestring.runs.directory import RunDir


def main(verb: str, words: Sequence[str]) -> int:
    """Run the verb; its exit code."""
    parser = Parser(
        prog=f"shoestring {verb}", description="Show the results of a finished run and write its report.md."
    )
    parser.add_argument("run", metavar="RUN", help="folder of the finished run")
    add_output(parser)
    given = parser.parse_args(words)
    folder = RunDir(Path(given.run))
    result = folder.run.get("result")
    if result is None:
        raise UserError(f"{given.run} is no finished run (its run.json has no result).")
    if "accuracy" not in result:
        raise UserError(f"{given.run} is a selection: there is no network to report on.")
    from shoestring.cli.show import show
    from shoestring.reporting.markdown import write_report

    with folder.showing():
        write_report(folder.path, result)
        if "json" in given:
            print(json.dumps(result, indent=1))
        else:
            show(verb, result)
    return 0
