"""`shoestring export RUN`: write the model of a run as a file for other programs."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Sequence
from typing import Any

from shoestring.cli.flags import Parser, add_output
from shoestring.cli.process import handle_signals
from shoestring.cli.progress import Progress
from shoestring.config.paths import expanded
from shoestring.config.units import format_percent
from shoestring.exporting.requirements import FORMATS


def main(verb: str, words: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    args = _parser(verb).parse_args(words)
    progress = Progress(quiet="quiet" in args)
    try:
        result = _export(args, progress)
    finally:
        progress.close()
    if "json" in args:
        print(json.dumps(result, indent=1, ensure_ascii=False))
    else:
        from shoestring.cli.show import two_columns

        two_columns(_rows(result))
    return 0


def _export(args: Namespace, progress: Progress) -> dict[str, Any]:
    from shoestring.runs.evaluation import load_other
    from shoestring.runs.export import export
    from shoestring.runs.models import usable_model

    handle_signals()
    run, images = expanded(args.run), None
    if "on" in args:
        model = usable_model(run, lambda message: None)
        progress.log("loading images")
        reports = {"log": progress.log, "progress": progress.loading}
        images = load_other(args.on, getattr(args, "split", None), model, skip_bad=args.skip_bad, **reports)
    return export(
        run,
        getattr(args, "out", None),
        format=args.format,
        fp16=args.fp16,
        int8=args.int8,
        tta=getattr(args, "tta", None),
        images=images,
        overwrite=args.overwrite,
        log=progress.log,
    )


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"shoestring {verb}",
        description="Write the model of a run as a file for other programs, with preprocessing, test-time augmentation "
        "and calibration inside, and verify that the file predicts what the model predicts.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a run or of a saved model")
    parser.add_argument(
        "--format", default="onnx", metavar="NAME", help=f"format: {', '.join(FORMATS)} (default: onnx)"
    )
    parser.add_argument("--out", metavar="PATH", help="file; folder for safetensors and triton (default: RUN/export/)")
    parser.add_argument("--fp16", action="store_true", default=False, help="compute in 16-bit floating point")
    parser.add_argument("--int8", action="store_true", default=False, help="compute in 8-bit integers, and evaluate it")
    parser.add_argument(
        "--tta", metavar="NAME", help="test-time augmentation: none, flip or crops (default: that of the model)"
    )
    parser.add_argument(
        "--on",
        metavar="DATA",
        help="labeled images for --int8 and verification (default: validation images of the run)",
    )
    parser.add_argument("--split", metavar="NAME", help="split of --on (default: test if it exists, else all images)")
    parser.add_argument("--skip-bad", action="store_true", default=False, help="skip unreadable images of --on")
    parser.add_argument("--overwrite", action="store_true", default=False, help="overwrite existing files")
    add_output(parser)
    return parser


def _rows(result: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the rows of the summary."""
    parity, figures = result["parity"], result["quantization"]
    size = f"{result['resolution']} x {result['resolution']}"
    kinds = {"generated": "generated images", "of the run": "images of the run", "given": "images"}
    rows = [("file", f"{file} ({_size(count)})") for file, count in result["files"].items()]
    if result["format"] != "safetensors":
        rows.append(("images", f"uint8 (N, height, width, {result['channels']}), of any size; trained on {size}"))
        rows.append(("probabilities", f"float32 (N, {len(result['classes'])})"))
    rows.append(("precision, test-time augmentation", f"{result['precision']}, {result['tta']}"))
    rows.append(
        (
            "difference of probabilities",
            f"at most {parity['difference']:.2g} on {parity['images']:,} {kinds[result['images']]} of {size} pixels, "
            f"{parity['resized_difference']:.2g} on other sizes; same class {format_percent(parity['same_class'])}",
        )
    )
    if figures is not None:
        accuracies = [format_percent(figures[name]) for name in ("accuracy", "float_accuracy")]
        what = f"{figures['images']:,} {'other ' if 'calibration_images' in figures else ''}images"
        rows.append((f"accuracy of {result['precision']}", f"{accuracies[0]} (float32: {accuracies[1]}) on {what}"))
    if figures is not None and "milliseconds" in figures:
        rows.append(
            ("time of one image", f"{figures['milliseconds']:.2f} ms (float32: {figures['float_milliseconds']:.2f} ms)")
        )
    return rows


def _size(count: int) -> str:
    return f"{count / 1e6:.2f} MB" if count >= 10_000 else f"{count:,} bytes"
