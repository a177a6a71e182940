"""`shoestring predict RUN IMAGE...`: predict the classes of any number of image files."""

from __future__ import annotations

import json
import os
import sys
from argparse import Namespace
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from shoestring.cli.flags import Parser, add_output
from shoestring.cli.process import handle_signals
from shoestring.cli.progress import Progress
from shoestring.config.paths import expanded
from shoestring.config.units import format_percent
from shoestring.errors import UserError
from shoestring.escaping import printable

if TYPE_CHECKING:
    from shoestring.runs.prediction_rows import Row

_MOST_LISTED = 20  # unreadable files


def main(verb: str, words: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    args = _parser(verb).parse_args(words)
    progress = Progress(quiet="quiet" in args)
    try:
        result = _predict(args, progress)
    finally:
        progress.close()
    if "json" in args:
        predictions = result.pop("predictions")
        print(json.dumps(result if predictions is None else predictions, indent=1))
    elif "csv" in args:
        from shoestring.cli.show import two_columns

        two_columns(_rows(result))
    _report(result, progress)
    if result["unreadable"] and not args.skip_bad:
        first = result["unreadable"][0]
        raise UserError(
            f"{len(result['unreadable']):,} of {result['images'] + len(result['unreadable']):,} files cannot be read, "
            f"the first: {first['image']}: {first['reason']}. The others are predicted. (--skip-bad accepts this)"
        )
    return 0


def _predict(args: Namespace, progress: Progress) -> dict[str, Any]:
    names = [name for word in args.images for name in (_lines() if word == "-" else [word])]
    from shoestring.runs.models import usable_model
    from shoestring.runs.prediction import predict
    from shoestring.runtime.context import prepare

    handle_signals()
    device = prepare(device=args.device).device
    run = expanded(args.run)
    model = usable_model(run, progress.log)
    model.module.to(device)

    def show_progress(done: int, total: int, rate: float) -> None:
        left = (total - done) / rate if rate else 0.0  # the time before, of loading and resuming, says nothing
        progress.update("predict", done / total, {"images": done, "images_per_second": rate, "left": left})

    return predict(
        model,
        names,
        run=run,
        csv=getattr(args, "csv", None),
        top=getattr(args, "top", None),
        unknown_below=getattr(args, "unknown_below", None),
        overwrite=args.overwrite,
        log=progress.log,
        progress=show_progress,
        on_row=None if "json" in args or "csv" in args else _show,
    )


def _lines() -> list[str]:
    """Return the names of files on stdin, one on each line, or with a zero byte after each; they need not be text."""
    content = sys.stdin.buffer.read()
    lines = content.split(b"\0") if b"\0" in content else [line.removesuffix(b"\r") for line in content.split(b"\n")]
    return [os.fsdecode(line) for line in lines if line]


def _show(row: Row) -> None:
    classes = "  ".join(f"{name} {100 * probability:.1f} %" for name, probability in row.classes)
    classes = classes or "no label of at least 50 %"
    print(printable(f"{row.image}  {'unknown: ' if row.unknown else ''}{classes}"))


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"shoestring {verb}",
        description="Predict the classes of image files with the model of a run. A file that cannot be read does not "
        "stop the others; such files are listed at the end.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a run or of a saved model")
    parser.add_argument(
        "images", metavar="IMAGE", nargs="+", help="image files, folders of images, or - for a list of files on stdin"
    )
    parser.add_argument(
        "--top",
        type=int,
        metavar="K",
        help="number of classes to show (default: 1; if images may have several labels, those of at least 50 %%)",
    )
    parser.add_argument(
        "--csv", metavar="FILE", help="write the predictions to this file; the same command resumes after a kill"
    )
    parser.add_argument(
        "--unknown-below",
        type=float,
        metavar="P",
        help="mark an image as unknown if the probability of its class is below this, such as 0.6",
    )
    parser.add_argument("--skip-bad", action="store_true", default=False, help="exit with 0 if files cannot be read")
    parser.add_argument("--overwrite", action="store_true", default=False, help="overwrite an existing --csv")
    parser.add_argument("--device", default="auto", help="device: cpu, cuda, cuda:1, mps or auto (default: auto)")
    add_output(parser)
    return parser


def _rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    resumed = f", {result['resumed']:,} of them before" if result["resumed"] else ""
    rows = [("images", f"{result['images']:,}{resumed} ({result['images_per_second']:,.0f} images/s)")]
    if result["unknown"] is not None:
        rows.append(("unknown", f"{result['unknown']:,} ({format_percent(result['unknown'] / result['images'])})"))
    return [*rows, ("file", result["csv"])]


def _report(result: dict[str, Any], progress: Progress) -> None:
    """Log what the reject option did on validation images, and the files that cannot be read."""
    if (rejection := result["rejection"]) is not None:
        text = f"of {rejection['images']:,} validation images, {format_percent(rejection['coverage'])} are not unknown"
        accuracy = rejection["accuracy"]
        progress.log(text if accuracy is None else f"{text}; of these, {format_percent(accuracy)} are correct")
    unreadable = result["unreadable"]
    for bad in unreadable[:_MOST_LISTED]:
        progress.log(f"cannot read {bad['image']}: {bad['reason']}")
    if len(unreadable) > _MOST_LISTED:
        where = f"; {result['csv']} lists all of them" if result["csv"] else ""
        progress.log(f"and {len(unreadable) - _MOST_LISTED:,} more{where}")
