"""`shoestring predict RUN IMAGE...`: predict the classes of image files."""

from __future__ import annotations

import json
from collections.abc import Sequence

from shoestring.cli.flags import Parser, add_output
from shoestring.cli.process import handle_signals
from shoestring.cli.progress import Progress
from shoestring.config.paths import expanded
from shoestring.errors import UserError
from shoestring.escaping import printable


def main(verb: str, words: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    parser = Parser(
        prog=f"shoestring {verb}", description="Predict the classes of image files with the model of a run."
    )
    parser.add_argument("run", metavar="RUN", help="folder of a run or of a saved model")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image files")
    parser.add_argument("--top", type=int, default=1, metavar="K", help="number of classes to show (default: 1)")
    parser.add_argument("--skip-bad", action="store_true", default=False, help="skip files that are not images")
    parser.add_argument("--device", default="auto", help="device: cpu, cuda, cuda:1, mps or auto (default: auto)")
    add_output(parser)
    args = parser.parse_args(words)
    if args.top < 1:
        raise UserError(f"--top must be at least 1, not {args.top}.")
    files = [expanded(name) for name in args.images]
    for file in files:
        if file.is_dir() and not args.skip_bad:
            raise UserError(f"{file} is a folder. Pass image files, such as {file}/*.jpg.")
    from shoestring.runs.models import usable_model
    from shoestring.runs.prediction import predict_files
    from shoestring.runtime.context import prepare

    handle_signals()
    log = Progress(quiet="quiet" in args).log
    model = usable_model(expanded(args.run), log)
    model.module.to(prepare(device=args.device).device)
    result = predict_files(model, files, top=args.top, skip_bad=args.skip_bad, log=log)
    if "json" in args:
        print(json.dumps(result, indent=1))
        return 0
    for entry in result:
        classes = "  ".join(f"{guess['class']} {100 * guess['probability']:.1f} %" for guess in entry["classes"])
        print(printable(f"{entry['image']}  {classes}"))
    return 0
