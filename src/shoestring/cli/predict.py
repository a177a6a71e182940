"""`shoestring predict RUN IMAGE...`: the classes of image files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from shoestring.cli.flags import Parser, add_output
from shoestring.cli.process import interruptible
from shoestring.cli.progress import Progress
from shoestring.config.paths import expanded
from shoestring.errors import UserError
from shoestring.escaping import printable


def main(verb: str, words: Sequence[str]) -> int:
    """Run the verb; its exit code."""
    parser = Parser(prog=f"shoestring {verb}", description="Name the class of image files with the model of a run.")
    parser.add_argument("run", metavar="RUN", help="folder of a run, or of a saved model")
    parser.add_argument("images", metavar="IMAGE", nargs="+", help="image files")
    parser.add_argument("--top", type=int, default=1, metavar="K", help="how many classes to name (default: 1)")
    parser.add_argument(
        "--skip-bad", action="store_true", default=False, help="leave out files that are no images and list them"
    )
    parser.add_argument("--device", default="auto", help="cpu, cuda, cuda:1, mps, or auto")
    add_output(parser)
    given = parser.parse_args(words)
    if given.top < 1:
        raise UserError(f"--top must be 1 or more, not {given.top}.")
    files = [expanded(name) for name in given.images]
    log = Progress(quiet="quiet" in given).log
    found = predict(expanded(given.run), files, top=given.top, skip_bad=given.skip_bad, device=given.device, log=log)
    if "json" in given:
        print(json.dumps(found, indent=1))
        return 0
    for entry in found:
        named = "  ".join(f"{guess['class']} {100 * guess['probability']:.1f} %" for guess in entry["classes"])
        print(printable(f"{entry['image']}  {named}"))
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
    """For each file its `top` classes, likeliest first. `UserError` names a file that is no image.

    With `skip_bad` such files are left out, and `say` is told of each.
    """
    import numpy as np

    from shoestring.data import Images, decode_file
    from shoestring.models.inference import log_probabilities
    from shoestring.runs.session import usable_model
    from shoestring.runtime.context import prepare

    interruptible()
    model = usable_model(run, log)
    model.module.to(prepare(device=device).device)
    wanted = model.preprocessing
    good, pixels = [], []
    for file in files:
        try:
            pixels.append(decode_file(file, resolution=wanted.resolution, channels=wanted.channels))
            good.append(file)
        except UserError as error:
            if not skip_bad:
                raise
            log(f"left out: {error}")
    if not good:
        raise UserError("none of the files is an image.")
    names = np.array([str(file) for file in good])
    images = Images(np.stack(pixels), None, model.classes, names, fingerprint="")
    shares = np.exp(log_probabilities(model, images))
    return [
        {
            "image": str(file),
            "classes": [
                {"class": model.classes[i], "probability": round(float(row[i]), 5)} for i in (-row).argsort()[:top]
            ],
        }
        for file, row in zip(good, shares)
    ]
