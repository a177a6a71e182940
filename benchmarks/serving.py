"""How fast, how steady and how robust the server is, beside LitServe with the same ONNX file.

    python benchmarks/serving.py [--litserve PYTHON] [--seconds 10] [--only NAME ...]
    python benchmarks/serving.py --page docs/deployment.md

The client runs on the same machine, over loopback, with 32 connections that stay open. PYTHON is the interpreter of an
environment with litserve, onnxruntime, pillow and zmq; without it, LitServe is left out. Networks have random weights:
neither speed nor rightness depends on them, and every answer is compared with that of ONNX Runtime. Each part of
results/serving.json is saved when it is measured.
"""

from __future__ import annotations

import argparse
import json
import pickle
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import mixed_requests
import served_models as served
from machine import machine
from measured import Row, Rows, fill
from server_process import ServerProcess, free_port

ROWS = Rows("serving.json", ("part", "name"))
HERE = Path(__file__).parent
CONNECTIONS = 32
BODIES = {"bytes": served.as_bytes, "form": served.as_form, "JSON": served.as_json}
LITSERVE = [(1, 1, 0), (16, 1, 0), (16, 1, 1), (16, 2, 0)]  # images in a batch, workers, fast queue


@contextmanager
def shoestring(file: Path, *words: str) -> Iterator[ServerProcess]:
    port = free_port()
    command = [sys.executable, "-m", "shoestring", "serve", str(file), "--port", str(port), "--quiet", *words]
    with ServerProcess(command, port, "/v2/health/ready") as process:
        yield process


def load(port: int, requests: list[tuple[bytes, bytes]], seconds: float) -> Row:
    """Send requests with 32 connections, from another process; return what it measured."""
    with tempfile.NamedTemporaryFile(suffix=".pickle") as file:
        pickle.dump(requests, file)
        file.flush()
        words = [str(port), file.name, "--seconds", str(seconds), "--connections", str(CONNECTIONS)]
        done = subprocess.run(
            [sys.executable, HERE / "load_generator.py", *words], capture_output=True, text=True, check=True
        )
    return json.loads(done.stdout)


def requests_for(network: str, file: Path, body: str, side: int | None = None) -> list[tuple[bytes, bytes]]:
    """Return requests with the patterns of their answers, for images of the network's size or another one."""
    images = served.pictures(side or served.NETWORKS[network])
    return [(BODIES[body](image), served.expecting(name)) for image, name in zip(images, served.answers(file, images))]


def throughput(folder: Path, args: argparse.Namespace) -> Iterator[Row]:
    """The network of the goals with each kind of body, and LitServe with JSON, which both understand."""
    file = served.export("resnet20", folder)
    for body in BODIES:
        with shoestring(file) as process:
            row = load(process.port, requests_for("resnet20", file, body), args.seconds)
            yield {"name": f"shoestring, {body}", **row, "memory_mb": process.memory_mb()}
    if args.litserve is None:
        return
    script = folder / "litserve_server.py"
    script.write_text(served.LITSERVE)
    requests = requests_for("resnet20", file, "JSON")
    for batch, workers, fast in LITSERVE:
        port = free_port()
        command = [args.litserve, str(script), str(file), *map(str, (port, batch, workers, fast))]
        with ServerProcess(command, port, "/health") as process:
            row = load(port, requests, args.seconds)
            name = f"LitServe, JSON, batch {batch}, {workers} worker{'s' * (workers > 1)}{', fast queue' * fast}"
            yield {"name": name, **row, "memory_mb": process.memory_mb()}


def start_up(folder: Path, args: argparse.Namespace) -> Iterator[Row]:
    """Time from the start of the process to the first answer that it is ready, and memory before any request."""
    file, seconds, memory = served.export("resnet20", folder), [], []
    for _ in range(5):
        start = time.perf_counter()
        with shoestring(file) as process:
            seconds.append(process.ready_at - start)
            memory.append(process.memory_mb())
    yield {"name": "shoestring", "seconds": [round(s, 2) for s in seconds], "memory_mb": statistics.median(memory)}


def sizes(folder: Path, args: argparse.Namespace) -> Iterator[Row]:
    """Requests per second on one core and on all, by network; photos of 500 pixels are sent as bytes."""
    for network in served.NETWORKS:
        for tta in ("none", "flip"):
            file = served.export(network, folder, tta=tta)
            with shoestring(file) as process:
                row = load(process.port, requests_for(network, file, "bytes", 500), args.seconds)
                yield {"name": f"{network}, {tta}", **row, "memory_mb": process.memory_mb()}


def several(folder: Path, args: argparse.Namespace) -> Iterator[Row]:
    """Several processes behind one port."""
    file = served.export("resnet20", folder)
    for workers in (1, 2):
        with shoestring(file, "--workers", str(workers)) as process:
            row = load(process.port, requests_for("resnet20", file, "bytes"), args.seconds)
            yield {"name": f"{workers} worker{'s' * (workers > 1)}", **row, "memory_mb": process.memory_mb()}


def mixed(folder: Path, args: argparse.Namespace) -> Iterator[Row]:
    """10,000 good and bad requests: no wrong answer, no internal error, no growth of memory."""
    file = served.export("resnet20", folder)
    images = served.pictures(32)
    with shoestring(file, "--timeout", "2s") as process:
        outcomes, memory = mixed_requests.send(process, images, served.answers(file, images), count=args.mixed)
    yield {"name": "shoestring", "requests": sum(outcomes.values()), "outcomes": outcomes, "memory_mb": memory}


def ending(folder: Path, args: argparse.Namespace) -> Iterator[Row]:
    """SIGTERM under load, again and again: requests that were sent and not answered."""
    file = served.export("resnet20", folder)
    images = served.pictures(32)
    expected = served.answers(file, images)
    for workers in (1, 2):
        totals: Counter[str] = Counter()
        for _ in range(args.endings):
            with shoestring(file, "--workers", str(workers)) as process:
                outcomes = mixed_requests.until_the_end(
                    process, images, expected, lambda: process.signal(signal.SIGTERM)
                )
            totals.update(outcomes)
        yield {"name": f"{workers} worker{'s' * (workers > 1)}", "ends": args.endings, "outcomes": dict(totals)}


PARTS = {part.__name__: part for part in (start_up, throughput, sizes, several, mixed, ending)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--litserve", metavar="PYTHON")
    parser.add_argument("--seconds", type=float, default=10.0)
    parser.add_argument("--mixed", type=int, default=10_000)
    parser.add_argument("--endings", type=int, default=10)
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--page", type=Path)
    args = parser.parse_args()
    if args.page:
        fill(args.page, serving=table(ROWS.read()))
        return
    with tempfile.TemporaryDirectory() as folder:
        for part in args.only:
            for row in PARTS[part](Path(folder), args):
                ROWS.put({"part": part, **row, "machine": machine()})
                print(part, *(f"{name}: {value}" for name, value in row.items()), flush=True)


def table(rows: list[Row]) -> str:
    """Return Markdown tables of the results."""
    parts: dict[str, list[Row]] = {}
    for row in rows:
        parts.setdefault(row["part"], []).append(row)
    head = ["requests/s", "p50", "p99", "memory"]
    lines = [*_header("ResNet-20, one process", head), *map(_line, parts.get("throughput", []))]
    lines += ["", *_header("several processes", head), *map(_line, parts.get("several", []))]
    lines += [
        "",
        *_header("photos of 500 x 500 pixels, test-time augmentation", head),
        *map(_line, parts.get("sizes", [])),
    ]
    for row in parts.get("start_up", []):
        lines += ["", f"Ready {max(row['seconds']):.2f} s after its start at most, with {row['memory_mb']:.0f} MB."]
    for row in parts.get("mixed", []):
        memory = ", ".join(f"{value:.0f} MB {when}" for when, value in row["memory_mb"].items())
        lines += ["", f"{row['requests']:,} good and bad requests: {_outcomes(row)}. Memory: {memory}."]
    for row in parts.get("ending", []):
        lines += ["", f"{row['ends']} times SIGTERM under load, {row['name']}: {_outcomes(row)}."]
    return "\n".join(lines)


def _header(first: str, others: list[str]) -> list[str]:
    return [f"| {first} | {' | '.join(others)} |", f"|---|{'--:|' * len(others)}"]


def _line(row: Row) -> str:
    figures = f"{row['requests_per_second']:,.0f} | {row['p50_ms']:.1f} ms | {row['p99_ms']:.1f} ms"
    return f"| {row['name']} | {figures} | {row['memory_mb']:.0f} MB |"


def _outcomes(row: Row) -> str:
    return ", ".join(f"{number:,} {outcome}" for outcome, number in row["outcomes"].items())


if __name__ == "__main__":
    main()
