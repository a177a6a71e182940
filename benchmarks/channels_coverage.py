"""Coverage of timm's architectures by pruning, merging and widening, compared with Torch-Pruning.

    python benchmarks/channels_coverage.py [--list LIST ...] [--tools TOOL ...] [--only MODEL ...] [--again]
    python benchmarks/channels_coverage.py --make-lists     # results/channels_models.json, from timm's registry
    python benchmarks/channels_coverage.py --table          # Markdown table of the results

Each model and tool runs in its own process with random weights, one thread and a time limit; its row is saved to
results/channels_coverage.json at once, so the benchmark can be interrupted and resumed. The development list has the
smallest model of each family of timm, the held-out list the second smallest. `pip install torch-pruning`.
"""

from __future__ import annotations

import argparse
import json
import re
import resource
import signal
import statistics
import subprocess
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from channels_tools import TOOLS, parameters
from machine import machine

RESULTS = Path(__file__).parent / "results"
ROWS, LISTS = RESULTS / "channels_coverage.json", RESULTS / "channels_models.json"
LIMIT = 150  # CPU seconds for one model and tool, independent of machine load
LARGEST = 40e6  # maximum parameters of a model in the lists
SMALL_SIDE = 96  # image size if the network accepts it, else its default size
PRUNED = 0.9  # a network with more than this fraction of its parameters remaining counts as not pruned
_MIXING = ("scaled_dot_product_attention", "matmul", "bmm", "baddbmm", "einsum", "lstm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", nargs="*", default=["development", "held_out"])
    parser.add_argument("--tools", nargs="*", default=list(TOOLS))
    parser.add_argument("--only", nargs="*", help="names of models")
    parser.add_argument("--again", action="store_true", help="measure existing rows again")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--make-lists", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--one", nargs=2, metavar=("TOOL", "NAME"), help="measure one model in this process")
    args = parser.parse_args()
    if args.one:
        print(json.dumps(one(*args.one)))
    elif args.make_lists:
        LISTS.write_text(json.dumps(make_lists(), indent=1) + "\n")
    elif args.table:
        print(table(rows()))
    else:
        pending = [(kind, name, tool) for kind in args.list for name in lists()[kind] for tool in args.tools]
        pending = [entry for entry in pending if not args.only or entry[1] in args.only]
        if not args.again:
            done = {(row["list"], row["model"], row["tool"]) for row in rows()}
            pending = [entry for entry in pending if entry not in done]
        measure(pending, args.jobs)


def lists() -> dict[str, list[str]]:
    return json.loads(LISTS.read_text())


def rows() -> list[dict[str, Any]]:
    return json.loads(ROWS.read_text())["rows"] if ROWS.exists() else []


def measure(pending: list[tuple[str, str, str]], jobs: int) -> None:
    hardware = machine()
    with ThreadPoolExecutor(jobs) as pool:
        for (kind, name, tool), row in zip(pending, pool.map(lambda entry: _process(entry[2], entry[1]), pending)):
            others = [r for r in rows() if (r["list"], r["model"], r["tool"]) != (kind, name, tool)]
            row = {"list": kind, "model": name, "tool": tool, "commit": hardware["commit"], **row}
            ROWS.write_text(json.dumps({"machine": hardware, "rows": [*others, row]}, indent=1) + "\n")
            print(kind, tool, name, row["result"], row.get("params_left"), row.get("cause", ""), flush=True)


def _process(tool: str, name: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", tool, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=_limit_cpu)
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return {"result": "failed", "cause": f"no result after {LIMIT} CPU seconds"}
    if done.returncode:
        last = (done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1]
        return {"result": "failed", "cause": last[:200]}
    return json.loads(done.stdout.splitlines()[-1])


def _limit_cpu() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 1))


def one(tool: str, name: str) -> dict[str, Any]:
    """Measure one model with one tool in this process."""
    import torch

    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module, example, mixes = prepare(name)
    with torch.no_grad():
        expected = module(example)
    before = parameters(module)
    row: dict[str, Any] = {"kind": "attention" if mixes else "convolution", "side": example.shape[-1], "params": before}
    start = time.process_time()
    try:
        cut, extra = TOOLS[tool](module, example)
    except Exception as error:
        return row | {"result": "failed", "cause": f"{type(error).__name__}: {error}"[:200]}
    row |= {
        "cpu_seconds": round(time.process_time() - start, 2),
        "params_left": round(parameters(cut) / before, 3),
        **extra,
    }
    try:
        with torch.no_grad():
            output = cut(example)
    except Exception as error:
        return row | {"result": "failed", "cause": f"the pruned network does not run: {error}"[:200]}
    if output.shape != expected.shape:
        return row | {"result": "failed", "cause": f"outputs of shape {tuple(output.shape)}"}
    return row | {"result": "cut" if row["params_left"] <= PRUNED else "not cut"}


def prepare(name: str) -> tuple[Any, Any, bool]:
    """Return the network in evaluation mode, an example input, and whether it mixes positions by products."""
    import timm
    import torch
    from torch.overrides import TorchFunctionMode

    class RecordCalls(TorchFunctionMode):
        called: set[str] = set()

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.called.add(getattr(func, "__name__", ""))
            return func(*args, **(kwargs or {}))

    module = timm.create_model(name).eval()
    default_side = module.default_cfg["input_size"][-1]
    for side in (SMALL_SIDE, default_side):
        example = torch.randn(2, 3, side, side)
        try:
            with torch.no_grad(), RecordCalls() as record:
                module(example)
            return module, example, bool(record.called & set(_MIXING)) or "mlp_mixer" in type(module).__module__
        except Exception:
            if side == default_side:
                raise
    raise AssertionError


def make_lists() -> dict[str, list[str]]:
    """Return the smallest and second smallest model of each family: a timm module and the first letters of a name."""
    import timm
    import torch

    families: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for file in timm.list_modules():
        for name in timm.list_models(module=file):
            if name.startswith("test_"):
                continue
            with torch.device("meta"):
                size = parameters(timm.create_model(name))
            letters = re.match(r"[a-z]+", name)
            if size <= LARGEST and letters:
                families.setdefault((file, letters[0]), []).append((size, name))
    lists: dict[str, list[str]] = {"development": [], "held_out": []}
    for models in families.values():
        for kind, (_, name) in zip(lists, sorted(models)):
            lists[kind].append(name)
    return {kind: sorted(names) for kind, names in lists.items()}


def table(measured: list[dict[str, Any]]) -> str:
    """Return the number of networks that each tool prunes, by list, and the causes of failures."""
    lines = [
        "| list | networks | tool | cut | not cut | failed | CPU-seconds, median |",
        "|---|---|---|---|---|---|---|",
    ]
    kinds = {(row["list"], row["model"]): row["kind"] for row in measured if "kind" in row}
    for kind in dict.fromkeys(row["list"] for row in measured):
        for networks in ("convolution", "attention", "all"):
            for tool in TOOLS:
                group = [row for row in measured if row["list"] == kind and row["tool"] == tool]
                group = [row for row in group if networks in ("all", kinds.get((kind, row["model"])))]
                if not group:
                    continue
                counts = [sum(row["result"] == result for row in group) for result in ("cut", "not cut", "failed")]
                seconds = statistics.median(row.get("cpu_seconds", LIMIT) for row in group)
                counted = (
                    f"{counts[0]} of {len(group)} ({100 * counts[0] / len(group):.0f} %) | {counts[1]} | {counts[2]}"
                )
                lines.append(f"| {kind} | {networks} | {tool} | {counted} | {seconds:.1f} |")
    for error in ("merge_error", "widen_error_evaluation", "widen_error_training"):
        errors = [row[error] for row in measured if row.get(error) is not None]
        if errors:
            words = error.replace("_error", "").replace("_", ", ")
            within = sum(value <= 1e-5 for value in errors)
            lines.append(f"\n{words}: {within} of {len(errors)} within 1e-5, largest {max(errors):.1e}")
    for row in measured:
        if row["tool"] == "shoestring" and row["result"] != "cut":
            cause = row.get("cause") or " ".join(row.get("notes", [])) or "no channels to cut"
            lines.append(f"\n- `{row['model']}` {row['result']}: {cause}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
