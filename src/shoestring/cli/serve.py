"""`shoestring serve RUN|FILE.onnx ...`: serve models over HTTP."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from shoestring.cli.flags import Parser, add_output
from shoestring.config.paths import expanded
from shoestring.escaping import printable
from shoestring.serving.serve import serve
from shoestring.serving.settings import (
    DEFAULT_FORMATS,
    Settings,
    parse_bytes,
    parse_duration,
    parse_formats,
    parse_list,
    read_api_key,
)


def main(verb: str, words: Sequence[str]) -> int:
    """Run the command; return its exit code."""
    args = _parser(verb).parse_args(words)
    key_file = getattr(args, "api_key_file", None)
    settings = Settings(
        devices=parse_list(args.device),
        threads=getattr(args, "threads", None),
        batch=args.batch,
        queue=args.queue,
        max_bytes=parse_bytes(args.max_bytes),
        max_pixels=args.max_pixels,
        max_images=args.max_images,
        formats=parse_formats(args.formats),
        timeout=parse_duration(args.timeout),
        api_key=read_api_key(None if key_file is None else expanded(key_file)),
        cors=parse_list(getattr(args, "cors", None)),
        allow_urls=args.allow_urls,
        log_requests="quiet" not in args,
    )

    def show(url: str, names: Sequence[str]) -> None:
        content = {"url": url, "models": list(names)}
        text = f"serving {', '.join(names)} on {url} (Ctrl-C ends)"
        print(json.dumps(content) if "json" in args else printable(text), flush=True)

    serve(
        args.models,
        host=args.host,
        port=args.port,
        workers=args.workers,
        settings=settings,
        quiet="quiet" in args,
        on_start=show,
    )
    return 0


def _parser(verb: str) -> Parser:
    parser = Parser(
        prog=f"shoestring {verb}",
        description="Serve models over HTTP: a page to try them, a path for images, the Open Inference Protocol, "
        "metrics. Computes with ONNX Runtime; a run is exported first.",
    )
    parser.add_argument(
        "models", metavar="MODEL", nargs="+", help="folder of a run, or ONNX file of `shoestring export`; or NAME=MODEL"
    )

    def add(flag: str, **about: Any) -> None:
        parser.add_argument(flag, **about)

    add(
        "--host",
        default="127.0.0.1",
        metavar="ADDRESS",
        help="address to listen on (default: loopback only)",
    )
    add("--port", type=int, default=8000, metavar="N", help="port; 0 for a free one (default: 8000)")
    add("--workers", type=int, default=1, metavar="N", help="processes that share the port (default: 1)")
    add("--device", default="cpu", metavar="NAMES", help="devices of ONNX Runtime: cpu, cuda:0,cuda:1 (default: cpu)")
    add(
        "--threads", type=int, metavar="N", help="threads of a session (default: all cores but one, or cores / workers)"
    )
    add("--batch", type=int, default=16, metavar="N", help="images predicted together at most (default: 16)")
    add("--queue", type=int, default=256, metavar="N", help="images that wait at most, before 429 (default: 256)")
    add("--timeout", default="30s", metavar="DURATION", help="time to receive a request, and to answer (default: 30s)")
    add("--max-bytes", default="20MB", metavar="SIZE", help="size of a request (default: 20MB)")
    add("--max-pixels", type=int, default=32_000_000, metavar="N", help="pixels of an image (default: 32000000)")
    add("--max-images", type=int, default=64, metavar="N", help="images of a request (default: 64)")
    formats = ",".join(DEFAULT_FORMATS).lower()
    add("--formats", default=formats, metavar="NAMES", help=f"image formats (default: {formats})")
    add("--api-key-file", metavar="FILE", help="file with the key that clients send (default: $SHOESTRING_API_KEY)")
    add("--cors", metavar="ORIGINS", help="origins whose pages may send requests from browsers (default: none)")
    add("--allow-urls", action="store_true", default=False, help="fetch images by URLs, from public addresses")
    add_output(parser)
    return parser
