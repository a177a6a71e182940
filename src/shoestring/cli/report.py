"""`shoestring report RUN ...`: write the report of a finished run again, or one page that compares several."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from shoestring.cli.flags import Parser, add_output
from shoestring.cli.progress import Progress
from shoestring.config.paths import expanded
from shoestring.config.units import format_percent
from shoestring.errors import UserError
from shoestring.escaping import printable
from shoestring.experiments.record import FILE, is_experiment, read_experiment
from shoestring.runs.directory import RunDir
from shoestring.runs.finished import read_result
from shoestring.runtime.output_files import check_file

_PAGE = "comparison.html"


def main(verb: str, words: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    args = _parser(verb).parse_args(words)
    folders = [RunDir(Path(run)) for run in args.runs]
    progress = Progress(quiet="quiet" in args)
    try:
        if len(folders) > 1:
            _compare(folders, expanded(args.out) if "out" in args else Path(_PAGE), args.overwrite, "json" in args)
            return 0
        if "out" in args:
            raise UserError("--out is the page of several runs; the report of one is written into its folder.")
        if is_experiment(folders[0].path):
            _report_experiment(folders[0].path, "json" in args)
        else:
            _report(folders[0], progress, "json" in args)
    finally:
        progress.close()
    return 0


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"shoestring {verb}",
        description="Print the results of a finished run or experiment and write its report again (report/index.html, "
        "report.md and README.md), or write a page that compares several runs. A run that did not finish gets a "
        "partial page.",
    )
    parser.add_argument("runs", metavar="RUN", nargs="+", help="folders of finished runs, or of one experiment")
    parser.add_argument("--out", metavar="FILE", help=f"page that compares several runs (default: {_PAGE})")
    parser.add_argument("--overwrite", action="store_true", default=False, help="overwrite an existing --out")
    add_output(parser)
    return parser


def _report(folder: RunDir, progress: Progress, as_json: bool) -> None:
    """Report one run, ticket experiment, or run that did not finish."""
    result = folder.run.get("result")
    if result is not None and "summary" in result:
        _report_tickets(folder, result, as_json)
    elif result is None and (folder / "run.json").exists() and (reported := _write_partial(folder, progress)):
        progress.close()
        print(json.dumps(reported, indent=1) if as_json else _partial_text(folder, reported))
    else:
        _write(folder, progress, as_json)


def _write_partial(folder: RunDir, progress: Progress) -> dict[str, Any] | None:
    """Write the page of a run that did not finish, and return what is known; None without a network."""
    from shoestring.runs.partial import is_unfinished, write_partial_page

    if not is_unfinished(folder):
        return None
    return write_partial_page(folder, log=progress.log, progress=progress.loading)


def _partial_text(folder: RunDir, known: dict[str, Any]) -> str:
    accuracy = format_percent(known["validation"])
    page = folder / "report" / "index.html"
    return printable(f"{folder.path} is not finished: validation accuracy {accuracy} so far; partial report in {page}")


def _write(folder: RunDir, progress: Progress, as_json: bool) -> None:
    """Write the report of a run, and print its results."""
    result = read_result(folder)
    from shoestring.cli.show import show
    from shoestring.reporting.markdown import write_report
    from shoestring.runs.report import TimeLimit, make_parts, write_page
    from shoestring.runs.report_sources import load_sources

    with folder.checking_results():
        write_report(folder.path, result)
    progress.log("loading images")
    sources, missing = load_sources(folder, progress=progress.loading)
    with folder.checking_results():
        parts = make_parts(folder, result, sources, TimeLimit(), missing=missing)
        assert parts is not None
        write_page(folder, parts)
        progress.close()
        if as_json:
            print(json.dumps(result, indent=1))
        else:
            show("report", result)


def _report_tickets(folder: RunDir, result: dict[str, Any], as_json: bool) -> None:
    """Report a lottery ticket experiment."""
    from shoestring.cli.tickets import show
    from shoestring.reporting.ticket_page import ticket_chart, ticket_page
    from shoestring.reporting.tickets import write_files
    from shoestring.runtime.files import write_text

    with folder.checking_results():
        write_files(folder.path, result, result["rows"])
        write_text(folder / "report" / "index.html", ticket_page(result, ticket_chart(result)))
        if as_json:
            print(json.dumps(result, indent=1))
        else:
            show(result)


def _report_experiment(folder: Path, as_json: bool) -> None:
    """Write the report of an experiment, and print its results."""
    from shoestring.cli.sweep import print_experiment
    from shoestring.reporting.experiment import write_files

    result = read_experiment(folder)
    try:
        write_files(folder, result)
        print_experiment(result, as_json=as_json)
    except (LookupError, TypeError, AttributeError) as error:
        raise UserError(f"{folder / FILE} is corrupted, or of another version ({error!r}).") from error


def _compare(folders: Sequence[RunDir], page: Path, overwrite: bool, as_json: bool) -> None:
    """Write a page that compares runs, and print the comparison."""
    check_file(page, "--out", overwrite=overwrite)
    from shoestring.cli.compare import print_comparison
    from shoestring.reporting.comparison import comparison_page
    from shoestring.runs.comparison import compare_runs
    from shoestring.runtime.files import write_text

    comparison = compare_runs(folders)
    write_text(page, comparison_page(comparison))
    print_comparison(comparison, as_json=as_json)
    if not as_json:
        print(f"saved to {page}")
