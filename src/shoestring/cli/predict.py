"""`shoestring predict RUN IMAGE...`: predict the classes of image files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from shoestring.cli.flags import Parser, add_output
from shoestring.cli.process import handle_signals
from shoestring.cli.progress import Progress
from shoestring.config.paths import expanded
from shoestring.errors import UserError
from shoestring.escaping import printable
from shoestring.runtime.output_files import check_file


def main(verb: str, words: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = Parser(
        prog=f"shoestring {verb}", description="Predict the classes of image files with the model of a run."
    )
    parser.add_argument("run", metavar="RUN", help="folder of a run or of a saved model")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image files")
    parser.add_argument(
        "--top",
        type=int,
        metavar="K",
        help="number of classes to show (default: 1; if images may have several labels, those of at least 50 %%)",
    )
    parser.add_argument("--csv", metavar="FILE", type=Path, help="also write a table of the predictions")
    parser.add_argument("--overwrite", action="store_true", default=False, help="overwrite an existing --csv file")
    parser.add_argument("--skip-bad", action="store_true", default=False, help="skip files that are not images")
    parser.add_argument("--device", default="auto", help="device: cpu, cuda, cuda:1, mps or auto (default: auto)")
    add_output(parser)
    args = parser.parse_args(words)
    top = getattr(args, "top", None)
    if top is not None and top < 1:
        raise UserError(f"--top must be at least 1, not {top}.")
    files = [expanded(name) for name in args.images]
    for file in files:
        if file.is_dir() and not args.skip_bad:
            raise UserError(f"{file} is a folder. Pass image files, such as {file}/*.jpg.")
    table = expanded(args.csv) if "csv" in args else None
    if table is not None:
        check_file(table, "--csv", overwrite=args.overwrite)
    from shoestring.runs.models import usable_model
    from shoestring.runs.prediction import predict_files, write_predictions
    from shoestring.runtime.context import prepare

    handle_signals()
    log = Progress(quiet="quiet" in args).log
    model = usable_model(expanded(args.run), log)
    model.module.to(prepare(device=args.device).device)
    result = predict_files(model, files, top=top, skip_bad=args.skip_bad, log=log)
    if table is not None:
        write_predictions(table, result)
    if "json" in args:
        print(json.dumps(result, indent=1))
        return 0
    for entry in result:
        classes = "  ".join(f"{guess['class']} {100 * guess['probability']:.1f} %" for guess in entry["classes"])
        print(printable(f"{entry['image']}  {classes or 'no label of at least 50 %'}"))
    return 0
