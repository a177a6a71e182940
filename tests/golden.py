"""Compare what two checkouts of the project compute: counted runs must agree to the last bit on one machine.

    python tests/golden.py OLD_CHECKOUT [--new CHECKOUT] [--only NAME ...]

Each case is a short list of commands whose work is counted (`--epochs`), with a fixed seed and one thread, run by
`python -m shoestring` of one checkout after the other. What the run folders hold is compared: chosen indices, tensors
of models, predictions, metrics, epochs counted and steps trained. Absolute values are not kept anywhere, as processors
differ. The exit code is 1 where anything differs.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SMALL = ("--model", "convnet", "--width", "0.25", "--batch-size", "32", "--threads", "1", "--device", "cpu", "--quiet")
DIGITS = ("digits", "--seed", "1", *SMALL)
_CUT = 120.0  # seconds to wait for a state to cut off a run at
_ADDED = ("balanced_accuracy", "macro_f1", "top5_accuracy")  # metrics that earlier checkouts do not have

Command = tuple[str, ...]
Cases = dict[str, Callable[["Checkout"], None]]


class Checkout:
    """One checkout, and the folder in which its runs are made."""

    def __init__(self, source: Path, work: Path) -> None:
        self.work = work
        work.mkdir(parents=True)
        clean = {name: value for name, value in os.environ.items() if not name.startswith("SHOESTRING")}
        self.environment = {**clean, "PYTHONPATH": str(source / "src"), "SHOESTRING_CACHE": str(work / "cache")}

    def command(self, *words: str) -> None:
        """Run one command to its end."""
        self._run([sys.executable, "-m", "shoestring", *words])

    def together(self, processes: int, *words: str) -> None:
        """Run one command in several processes."""
        launch = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m", "shoestring"]
        self._run([sys.executable, *launch, *words])

    def cut(self, out: str, *words: str) -> None:
        """Run one command until it has left a state in its folder, and kill it."""
        process = subprocess.Popen(
            [sys.executable, "-m", "shoestring", *words, "--out", out],
            cwd=self.work,
            env=self.environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        state, end = self.work / out / "train" / "state.pt", time.monotonic() + _CUT
        while not state.exists() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
        if not state.exists():
            raise SystemExit(f"{' '.join(words)} left no state to go on from")

    def _run(self, words: list[str]) -> None:
        done = subprocess.run(words, cwd=self.work, env=self.environment, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"{' '.join(words)} ended with {done.returncode}:\n{done.stderr[-3000:]}")


def whole(it: Checkout) -> None:
    """Select, train and prune, with a baseline."""
    it.command("run", *DIGITS, "--epochs", "12", "--examples", "300", "--select", "forgetting", "--macs", "0.5",
               "--baseline", "--out", "run")  # fmt: skip
    it.command("evaluate", "run", "--on", "digits", "--out", "again", "--quiet")


def automatic(it: Checkout) -> None:
    """Everything left to the program."""
    it.command("run", "digits", "--epochs", "4", "--examples", "100", "--threads", "1", "--quiet", "--out", "run")


def chosen(it: Checkout) -> None:
    """Choices that build on others: by signals, within a part of the images, with some kept."""
    it.command("select", *("digits", "--examples", "50", "--method", "k_center"), *_few("first"))
    more = ("--already", "first", "--within", "easiest:0.5", "--signals", "signals.npz", "--drop-suspects")
    it.command("select", *("digits", "--examples", "150", "--method", "d2", *more), *_few("second"))
    it.command("train", *DIGITS, "--epochs", "4", "--subset", "second", "--out", "run")


def _few(out: str) -> Command:
    return ("--epochs", "2", "--seed", "1", "--threads", "1", "--device", "cpu", "--quiet", "--out", out)


def grown(it: Checkout) -> None:
    """Networks that grow in resolution, width and depth."""
    it.command("train", *DIGITS, "--epochs", "4", "--grow", "width,resolution", "--out", "wide")
    deep = ("digits", "--model", "resnet20", "--width", "0.25", "--batch-size", "64", "--threads", "1", "--quiet")
    it.command("train", *deep, "--epochs", "2", "--grow", "depth", "--out", "deep")
    it.command("train", *DIGITS, "--epochs", "3", "--stages", "0.5@0.75,1@1", "--out", "stages")


def pruned(it: Checkout) -> None:
    """A finished run, made smaller."""
    it.command("train", *DIGITS, "--epochs", "3", "--out", "trained")
    it.command("prune", "trained", "--macs", "0.4", "--epochs", "2", "--threads", "1", "--quiet", "--out", "small")


def extended(it: Checkout) -> None:
    """A training that can go on, with more epochs later."""
    it.command("train", *DIGITS, "--schedule", "anytime", "--epochs", "2", "--out", "run")
    shutil.copytree(it.work / "run", it.work / "before")
    it.command("train", *DIGITS, "--schedule", "anytime", "--epochs", "4", "--out", "run")


def resumed(it: Checkout) -> None:
    """A training that is killed, and goes on."""
    words = ("train", *DIGITS, "--epochs", "60")
    it.cut("run", *words)
    it.command(*words, "--out", "run")


def networks(it: Checkout) -> None:
    """Other networks and optimizers, early stopping, class-free pruning."""
    rest = ("--epochs", "3", "--batch-size", "32", "--threads", "1", "--quiet")
    it.command("train", "digits", "--model", "simplecnn", "--patience", "3", *rest, "--out", "simple")
    it.command("train", "digits", "--model", "timm:ghostnet_050", "--grow", "constant", *rest, "--out", "timm")
    it.command("run", "digits", "--model", "vgg16", "--width", "0.125", "--params", "0.5", "--prune", "random", *rest,
               "--out", "vgg")  # fmt: skip


def distributed(it: Checkout) -> None:
    """Two processes that train together."""
    it.together(2, "train", *DIGITS, "--epochs", "2", "--out", "run")


CASES: Cases = {
    made.__name__: made for made in (whole, automatic, chosen, grown, pruned, extended, resumed, networks, distributed)
}


def record(folder: Path) -> dict[str, Any]:
    """What there is to compare in the run folders below a folder, by relative name."""
    found: dict[str, Any] = {}
    for file in sorted(folder.rglob("*")):
        name = str(file.relative_to(folder))
        if "cache" in file.relative_to(folder).parts[:1] or not file.is_file():
            continue
        if file.name == "metrics.json":
            found[name] = {key: value for key, value in json.loads(file.read_text()).items() if key not in _ADDED}
        elif file.name in ("model.safetensors", "predictions.csv", "confusion.csv", "per_class.csv"):
            found[name] = hashlib.sha256(file.read_bytes()).hexdigest()[:16]
        elif file.name == "subset.json":
            found[name] = json.loads(file.read_text())["indices"]
        elif file.name == "run.json":
            run = json.loads(file.read_text())
            found[name] = {"counted": run.get("counted")}
            for key in ("training", "recovery"):  # by values: what they are called may change
                found[name][key] = sorted(map(str, (run.get(key) or {}).values()))
            found[name]["accuracy"] = run.get("result", {}).get("accuracy")
            names = {"forecast": "plan"}  # former names
            found[name]["ledger"] = sorted(names.get(key, key) for key in run.get("ledger", {}))
    return found


def main() -> None:
    """Run the cases in both checkouts, and print what differs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("old", type=Path, help="the checkout to compare with")
    parser.add_argument("--new", type=Path, default=Path(__file__).resolve().parent.parent, help="this one")
    parser.add_argument("--only", nargs="+", choices=list(CASES), default=list(CASES))
    given = parser.parse_args()
    differing = 0
    with tempfile.TemporaryDirectory(prefix="shoestring-golden-") as place:
        for name in given.only:
            records = []
            for kind, source in (("old", given.old), ("new", given.new)):
                it = Checkout(source.resolve(), Path(place) / kind / name)
                CASES[name](it)
                records.append(record(it.work))
            old, new = records
            wrong = [key for key in sorted({*old, *new}) if old.get(key) != new.get(key)]
            differing += len(wrong)
            print(f"{name:<12} {'equal' if not wrong else 'DIFFERS'} ({len(old)} files)", flush=True)
            for key in wrong:
                print(f"  {key}\n    old {old.get(key)}\n    new {new.get(key)}")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
