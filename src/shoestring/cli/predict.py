"""`shoestring predict RUN IMAGE...`: predict the classes of image files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

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
    log = Progress(quiet="quiet" in args).log
    result = predict(expanded(args.run), files, top=args.top, skip_bad=args.skip_bad, device=args.device, log=log)
    if "json" in args:
        print(json.dumps(result, indent=1))
        return 0
    for entry in result:
        classes = "  ".join(f"{guess['class']} {100 * guess['probability']:.1f} %" for guess in entry["classes"])
        print(printable(f"{entry['image']}  {classes}"))
    return 0


def predict(
    run: Path,
    files: Sequence[Path],
    *,
    top: int = 1,
    skip_bad: bool = False,
    device: str = "auto",
    log: Callable[[str], None] = lambda note: None,
) -> list[dict[str, Any]]:
    """Return the `top` classes of each file, most probable first.

    Raises `UserError` for a file that is not an image; with `skip_bad`, such files are skipped and logged.
    """
    for file in files:
        if file.is_dir() and not skip_bad:
            raise UserError(f"{file} is a folder. Pass image files, such as {file}/*.jpg.")
    import numpy as np

    from shoestring.data import Images, decode_file
    from shoestring.models.inference import log_probabilities
    from shoestring.runs.models import usable_model
    from shoestring.runtime.context import prepare

    handle_signals()
    model = usable_model(run, log)
    model.module.to(prepare(device=device).device)
    size = model.preprocessing
    decoded, pixels = [], []
    for file in files:
        try:
            pixels.append(decode_file(file, resolution=size.resolution, channels=size.channels))
            decoded.append(file)
        except UserError as error:
            if not skip_bad:
                raise
            log(f"skipped: {error}")
    if not decoded:
        raise UserError("none of the files is an image.")
    names = np.array([str(file) for file in decoded])
    images = Images(np.stack(pixels), None, model.classes, names, fingerprint="")
    probabilities = np.exp(log_probabilities(model, images))
    return [
        {
            "image": str(file),
            "classes": [
                {"class": model.classes[i], "probability": round(float(row[i]), 5)} for i in (-row).argsort()[:top]
            ],
        }
        for file, row in zip(decoded, probabilities)
    ]
