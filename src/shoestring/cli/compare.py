"""`shoestring compare A B ...`: print the results of runs side by side, with tests and what differed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from shoestring.cli.flags import Parser, add_output
from shoestring.escaping import printable
from shoestring.runs.directory import RunDir

if TYPE_CHECKING:
    from shoestring.reporting.comparison import Comparison


def main(verb: str, words: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = Parser(
        prog=f"shoestring {verb}",
        description="Compare finished runs: results, whether differences are significant on the same test images "
        "(McNemar's test, adjusted for the number of pairs), and what differs in their recipes.",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folders of finished runs, two or more")
    add_output(parser)
    args = parser.parse_args(words)
    from shoestring.runs.comparison import compare_runs

    print_comparison(compare_runs([RunDir(Path(run)) for run in args.runs]), as_json="json" in args)
    return 0


def print_comparison(comparison: Comparison, *, as_json: bool) -> None:
    """Print a comparison as tables, or as JSON."""
    if as_json:
        print(json.dumps(comparison.as_dict(), indent=1))
        return
    from shoestring.cli.show import grid
    from shoestring.reporting.comparison import RUN_HEADER, TEST_HEADER, difference_rows, run_rows, test_rows

    grid(RUN_HEADER, run_rows(comparison))
    if comparison.untested:
        print(printable(comparison.untested))
    else:
        grid(TEST_HEADER, test_rows(comparison))
    if differences := difference_rows(comparison):
        grid(("different", *(run.name for run in comparison.runs)), differences)
