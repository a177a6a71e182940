"""Which of timm's architectures the channel map can cut, merge and widen, with Torch-Pruning on the same list.

    python benchmarks/channels_coverage.py [--list LIST ...] [--tools TOOL ...] [--only MODEL ...] [--again]
    python benchmarks/channels_coverage.py --make-lists     # results/channels_models.json, from timm's registry
    python benchmarks/channels_coverage.py --table          # Markdown of what has been measured

Every model and tool is a process of its own with random weights and one thread, stopped after a time limit; its row is
added to results/channels_coverage.json at once, so that the benchmark can be stopped and gone on with. The development
list has the smallest model of each family of timm, the held-out list the second smallest. `pip install torch-pruning`.
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

from machine import machine

RESULTS = Path(__file__).parent / "results"
ROWS, LISTS = RESULTS / "channels_coverage.json", RESULTS / "channels_models.json"
TOOLS = ("shoestring", "torch_pruning")
LIMIT = 150  # processor seconds for one model and tool, so that what else the machine does decides nothing
LARGEST = 40e6  # parameters of a model of the lists
SMALL_SIDE = 96  # pixels a side, where a network takes them; else its usual size
WORTH = 0.9  # a network with more than this share of its parameters left counts as not cut
_MIXING = ("scaled_dot_product_attention", "matmul", "bmm", "baddbmm", "einsum", "lstm")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--list", nargs="*", default=["development", "held_out"])
    parser.add_argument("--tools", nargs="*", default=TOOLS)
    parser.add_argument("--only", nargs="*", help="names of models")
    parser.add_argument("--again", action="store_true", help="measure anew what has been measured")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--make-lists", action="store_true")
    parser.add_argument("--table", action="store_true")
    parser.add_argument("--one", nargs=2, metavar=("TOOL", "NAME"), help="measure one model in this process")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(*given.one)))
    elif given.make_lists:
        LISTS.write_text(json.dumps(make_lists(), indent=1) + "\n")
    elif given.table:
        print(table(rows()))
    else:
        wanted = [(kind, name, tool) for kind in given.list for name in lists()[kind] for tool in given.tools]
        wanted = [entry for entry in wanted if not given.only or entry[1] in given.only]
        if not given.again:
            done = {(row["list"], row["model"], row["tool"]) for row in rows()}
            wanted = [entry for entry in wanted if entry not in done]
        measure(wanted, given.jobs)


def lists() -> dict[str, list[str]]:
    return json.loads(LISTS.read_text())


def rows() -> list[dict[str, Any]]:
    return json.loads(ROWS.read_text())["rows"] if ROWS.exists() else []


def measure(wanted: list[tuple[str, str, str]], jobs: int) -> None:
    around = machine()
    with ThreadPoolExecutor(jobs) as pool:
        for (kind, name, tool), row in zip(wanted, pool.map(lambda entry: _process(entry[2], entry[1]), wanted)):
            others = [r for r in rows() if (r["list"], r["model"], r["tool"]) != (kind, name, tool)]
            row = {"list": kind, "model": name, "tool": tool, "commit": around["commit"], **row}
            ROWS.write_text(json.dumps({"machine": around, "rows": [*others, row]}, indent=1) + "\n")
            print(kind, tool, name, row["result"], row.get("params_left"), row.get("cause", ""), flush=True)


def _process(tool: str, name: str) -> dict[str, Any]:
    command = [sys.executable, __file__, "--one", tool, name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=_limited)
    if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
        return {"result": "failed", "cause": f"no result after {LIMIT} processor seconds"}
    if done.returncode:
        last = (done.stderr.strip() or f"exit {done.returncode}").splitlines()[-1]
        return {"result": "failed", "cause": last[:200]}
    return json.loads(done.stdout.splitlines()[-1])


def _limited() -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (LIMIT, LIMIT + 1))


def one(tool: str, name: str) -> dict[str, Any]:
    """One model with one tool, in this process."""
    import torch

    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    module, example, mixes = prepared(name)
    with torch.no_grad():
        expected = module(example)
    before = _params(module)
    row: dict[str, Any] = {"kind": "attention" if mixes else "convolution", "side": example.shape[-1], "params": before}
    began = time.process_time()
    try:
        cut, extra = globals()[f"_{tool}"](module, example)
    except Exception as error:
        return row | {"result": "failed", "cause": f"{type(error).__name__}: {error}"[:200]}
    row |= {
        "cpu_seconds": round(time.process_time() - began, 2),
        "params_left": round(_params(cut) / before, 3),
        **extra,
    }
    try:
        with torch.no_grad():
            found = cut(example)
    except Exception as error:
        return row | {"result": "failed", "cause": f"the cut network does not run: {error}"[:200]}
    if found.shape != expected.shape:
        return row | {"result": "failed", "cause": f"outputs of shape {tuple(found.shape)}"}
    return row | {"result": "cut" if row["params_left"] <= WORTH else "not cut"}


def prepared(name: str) -> tuple[Any, Any, bool]:
    """The network in evaluation mode, an example it takes, and whether it mixes positions by products."""
    import timm
    import torch
    from torch.overrides import TorchFunctionMode

    class Listen(TorchFunctionMode):
        called: set[str] = set()

        def __torch_function__(self, func, types, args=(), kwargs=None):
            self.called.add(getattr(func, "__name__", ""))
            return func(*args, **(kwargs or {}))

    module = timm.create_model(name).eval()
    usual = module.default_cfg["input_size"][-1]
    for side in (SMALL_SIDE, usual):
        example = torch.randn(2, 3, side, side)
        try:
            with torch.no_grad(), Listen() as heard:
                module(example)
            return module, example, bool(heard.called & set(_MIXING)) or "mlp_mixer" in type(module).__module__
        except Exception:
            if side == usual:
                raise
    raise AssertionError


def _shoestring(module: Any, example: Any) -> tuple[Any, dict[str, Any]]:
    """Every second channel of each group goes; where it is exact, channels are doubled, and merged again."""
    import torch

    from shoestring.channels import drop, trace, widen
    from shoestring.channels.copying import nondegenerate_copy

    table = trace(module, example)
    cut = drop(module, table, {name: torch.arange(0, group.size, 2) for name, group in table.groups.items()})
    extra: dict[str, Any] = {"groups": len(table.groups), "notes": list(table.notes)}
    exact = {name: group for name, group in table.groups.items() if group.separable and group.copyable}
    extra["not_copyable"] = sum(not group.copyable for group in table.groups.values())
    if exact:
        module = nondegenerate_copy(module)  # a head of zeros, as some networks start with, would hide every mistake
        extra["merge_error"] = _merge_error(module, table, exact, example)
        sizes = {name: group.size + (group.size + 1) // 2 for name, group in exact.items()}
        for mode in ("evaluation", "training"):
            expected, found = (_output(one, example, mode) for one in (module, widen(module, table, sizes)))
            extra[f"widen_error_{mode}"] = _difference(found, expected)
    return cut, extra


def _merge_error(module: Any, table: Any, groups: Any, example: Any) -> float | None:
    """The difference of the outputs after random channels were doubled, their weights split, and merged again.

    Groups are left out whose channels belong together in other numbers once they are doubled: those that a norm
    with a fixed number of groups takes together. None where no group is left.
    """
    import torch

    from shoestring.channels import Edit, apply_edits, merge, trace

    sources = {
        name: torch.cat([torch.arange(group.size), torch.randint(group.size, (group.size,))]).sort().values
        for name, group in groups.items()
    }
    while sources:
        twice = apply_edits(module, table, {name: Edit(source, _split(source)) for name, source in sources.items()})
        again = trace(twice, example, verify=False)
        made_alike: dict[Any, list[str]] = {}
        for name, group in again.groups.items():
            made_alike.setdefault((group.producers, group.size), []).append(name)
        keys = {name: (groups[name].producers, len(source)) for name, source in sources.items()}
        if strange := [name for name, key in keys.items() if key not in made_alike]:
            sources = {name: source for name, source in sources.items() if name not in strange}
            continue
        # the same layers make them, in the same order
        clusters = {made_alike[keys[name]].pop(0): source for name, source in sources.items()}
        merged = merge(twice, again, clusters)
        assert _params(merged) == _params(module), "merging did not bring the network back to its size"
        return _difference(_output(merged, example), _output(module, example))
    return None


def _split(source: Any) -> Any:
    """Weights in random parts for the copies, which add up to them."""
    import torch

    parts = torch.rand(len(source)) + 0.1
    totals = torch.zeros(int(source.max()) + 1).index_add(0, source, parts)
    return lambda axis, weight: weight[..., source] * (parts / totals[source])


def _output(module: Any, example: Any, mode: str = "evaluation") -> Any:
    """The output, in training mode with dropout and its like switched off by the same seed and rates of zero."""
    import copy

    import torch

    module = copy.deepcopy(module).train(mode == "training")
    for part in module.modules():
        if hasattr(part, "drop_prob") or isinstance(part, torch.nn.modules.dropout._DropoutNd):
            part.eval()
    for part in module.modules():
        if isinstance(getattr(part, "drop_rate", None), float):
            part.drop_rate = 0.0
    with torch.no_grad():
        return module(example)


def _difference(found: Any, expected: Any) -> float:
    """The largest difference relative to the largest output."""
    return ((found - expected).abs().max() / expected.abs().max().clamp_min(1e-30)).item()


def _torch_pruning(module: Any, example: Any) -> tuple[Any, dict[str, Any]]:
    """Half of the channels of every group by group magnitude, the classifier left alone, all other settings usual.

    It is told of attention heads as its documentation wants it; the numbers that modules keep of them are set after.
    """
    import torch_pruning

    heads = module.get_classifier()
    attention = [part for part in module.modules() if hasattr(part, "qkv") and hasattr(part, "num_heads")]
    pruner = torch_pruning.pruner.BasePruner(
        module,
        example,
        importance=torch_pruning.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=0.5,
        ignored_layers=list(heads) if isinstance(heads, tuple | list) else [heads],
        num_heads={part.qkv: part.num_heads for part in attention},
    )
    pruner.step()
    for part in attention:
        part.num_heads = pruner.num_heads[part.qkv]
        if hasattr(part.qkv, "out_features"):
            part.head_dim = part.qkv.out_features // 3 // part.num_heads
    return module, {"version": torch_pruning.__version__}


def _params(module: Any) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def make_lists() -> dict[str, list[str]]:
    """The smallest and second smallest model of each family: a file of timm's, and the letters its name begins with."""
    import timm
    import torch

    families: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for file in timm.list_modules():
        for name in timm.list_models(module=file):
            if name.startswith("test_"):
                continue
            with torch.device("meta"):
                size = _params(timm.create_model(name))
            letters = re.match(r"[a-z]+", name)
            if size <= LARGEST and letters:
                families.setdefault((file, letters[0]), []).append((size, name))
    found: dict[str, list[str]] = {"development": [], "held_out": []}
    for models in families.values():
        for kind, (_, name) in zip(found, sorted(models)):
            found[kind].append(name)
    return {kind: sorted(names) for kind, names in found.items()}


def table(measured: list[dict[str, Any]]) -> str:
    """How many of each list each tool cuts, and what the others fail of."""
    lines = [
        "| list | networks | tool | cut | not cut | failed | CPU-seconds, median |",
        "|---|---|---|---|---|---|---|",
    ]
    kinds = {(row["list"], row["model"]): row["kind"] for row in measured if "kind" in row}
    for kind in dict.fromkeys(row["list"] for row in measured):
        for networks in ("convolution", "attention", "all"):
            for tool in TOOLS:
                mine = [row for row in measured if row["list"] == kind and row["tool"] == tool]
                mine = [row for row in mine if networks in ("all", kinds.get((kind, row["model"])))]
                if not mine:
                    continue
                counts = [sum(row["result"] == result for row in mine) for result in ("cut", "not cut", "failed")]
                seconds = statistics.median(row.get("cpu_seconds", LIMIT) for row in mine)
                shares = f"{counts[0]} of {len(mine)} ({100 * counts[0] / len(mine):.0f} %) | {counts[1]} | {counts[2]}"
                lines.append(f"| {kind} | {networks} | {tool} | {shares} | {seconds:.1f} |")
    for error in ("merge_error", "widen_error_evaluation", "widen_error_training"):
        found = [row[error] for row in measured if row.get(error) is not None]
        if found:
            words = error.replace("_error", "").replace("_", ", ")
            within = sum(value <= 1e-5 for value in found)
            lines.append(f"\n{words}: {within} of {len(found)} within 1e-5, largest {max(found):.1e}")
    for row in measured:
        if row["tool"] == "shoestring" and row["result"] != "cut":
            cause = row.get("cause") or " ".join(row.get("notes", [])) or "no channels to cut"
            lines.append(f"\n- `{row['model']}` {row['result']}: {cause}")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
