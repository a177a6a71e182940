"""`shoestring report RUN`: print the results of a finished run, and write its report again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shoestring.cli.flags import Parser, add_output
from shoestring.errors import UserError
from shoestring.runs.directory import RunDir


def main(verb: str, words: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = Parser(
        prog=f"shoestring {verb}", description="Print the results of a finished run, and write its report.md again."
    )
    parser.add_argument("run", metavar="RUN", help="folder of the finished run")
    add_output(parser)
    args = parser.parse_args(words)
    folder = RunDir(Path(args.run))
    if not folder.run:
        raise UserError(f"{args.run} is not a run folder (it has no run.json).")
    result = folder.run.get("result")
    if result is None:
        raise UserError(f"{args.run} is not a finished run (its run.json has no result).")
    if "summary" in result:
        return _report_tickets(folder, result, as_json="json" in args)
    if "accuracy" not in result:
        raise UserError(f"{args.run} is a selection, without a network to report on.")
    from shoestring.cli.show import show
    from shoestring.reporting.markdown import write_report

    with folder.checking_results():
        write_report(folder.path, result)
        if "json" in args:
            print(json.dumps(result, indent=1))
        else:
            show(verb, result)
    return 0


def _report_tickets(folder: RunDir, result: dict[str, Any], *, as_json: bool) -> int:
    """Report a lottery ticket experiment."""
    from shoestring.cli.tickets import show
    from shoestring.reporting.tickets import write_files

    with folder.checking_results():
        write_files(folder.path, result, result["rows"])
        if as_json:
            print(json.dumps(result, indent=1))
        else:
            show(result)
    return 0
