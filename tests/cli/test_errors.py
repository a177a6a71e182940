from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoestring.cli.main import main

QUICK = ("--epochs", "20", "--model", "simplecnn")


def photos(folder: Path, **counts: int) -> Path:
    rng = np.random.default_rng(0)
    for name, count in counts.items():
        (folder / name).mkdir(parents=True)
        for index in range(count):
            pixels = rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{index}.png")
    return folder


def with_bad(folder: Path, content: bytes) -> Path:
    photos(folder, cat=12, dog=12)
    (folder / "cat" / "bad one.png").write_bytes(content)
    return folder


def truncated(folder: Path) -> Path:
    photos(folder, cat=12, dog=12)
    file = folder / "cat" / "3.png"
    file.write_bytes(file.read_bytes()[:80])
    return folder


def split(folder: Path) -> Path:
    photos(folder / "train", cat=9, dog=9)
    photos(folder / "test", cat=3, zebra=3)
    return folder


def arrays(folder: Path) -> Path:
    folder.mkdir()
    np.savez(folder / "some.npz", images=np.zeros((9, 8, 8), np.uint8))
    return folder / "some.npz"


def empty(folder: Path) -> Path:
    folder.mkdir()
    return folder


DATA: list[tuple[Callable[[Path], Path], tuple[str, ...]]] = [
    (lambda folder: folder / "nothing here", ("nothing here",)),
    (empty, ("no class folders",)),
    (lambda folder: photos(folder, cat=9), ("one class", "cat")),
    (lambda folder: photos(folder, cat=9, dog=0), ("dog", "no images")),
    (lambda folder: with_bad(folder, b"hello"), ("bad one.png", "--skip-bad")),
    (truncated, ("3.png", "--skip-bad")),
    (split, ("zebra", "cat, dog")),
    (lambda folder: photos(folder, cat=9, dog=9, Test=9), ("Test", "no train folder")),
    (arrays, ("labels", "some.npz")),
]


def one_line(capsys: pytest.CaptureFixture[str], words: tuple[str, ...], out: Path, *, code: int = 2) -> str:
    """Return the one error line of a command that fails without creating a run folder."""
    assert main([*words, "--out", str(out), "--quiet"]) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ") and captured.err.count("\n") == 1
    assert not out.is_dir()
    return captured.err


@pytest.mark.parametrize("make, message", DATA)
def test_bad_data(capsys, tmp_path: Path, make: Callable[[Path], Path], message: tuple[str, ...]) -> None:
    error = one_line(capsys, ("run", str(make(tmp_path / "my photos")), *QUICK), tmp_path / "out")
    assert all(part in error for part in message), error


@pytest.mark.parametrize(
    "words, message",
    [
        ("--examples 5000", "1,294"),
        ("--examples 0", "at least 1"),
        ("--examples many", "an integer"),
        ("--examples", "--examples"),
        ("--select forgeting --examples 50", "Did you mean 'forgetting'?"),
        ("--select random", "--examples"),
        ("--grow resolutoin", "Did you mean 'resolution'?"),
        ("--grow resolution,widht", "Did you mean 'width'?"),
        ("--grow width --grow.narrowest 0", "above 0 and up to 1"),
        ("--grow depth --model convnet", "convnet has no residual blocks that can be skipped. Leave depth out"),
        ("--grow width --grow.smallest 0.5", "smallest"),
        ("--grow width --stages 0.5@1,1@1", "omit --grow"),
        ("--stages half,1@1", "'half' is not a stage"),
        ("--stages 0.5@0.5", "with 1@1"),
        ("--stages 1@0.5,0.5@1,1@1", "can only grow"),
        ("--stages 0.5@1:0.6,1@1:0.6", "add up to 1"),
        ("--strength 1,2", "fractions from 0 to 1"),
        ("--strength strong", "not 'strong'"),
        ("--prune magnitud", "Did you mean 'magnitude'?"),
        ("--model convnt", "Did you mean 'convnet'?"),
        ("--model timm:resnt18", "Did you mean 'resnet18'?"),
        ("--optimizer adm", "Did you mean 'adamw'?"),
        ("--time 5m", "one budget"),
        ("--epochs 0", "--epochs must be above 0"),
        ("--epochs inf", "must be finite"),
        ("--macs 0", "write a fraction up to 1"),
        ("--macs 0.5x", "not a size"),
        ("--macs 2", "is not a size"),
        ("--prune magnitude --prune.norm l1", "--macs"),
        ("--macs 0.5 --prune.norm l1", "name the method as well"),
        ("--scope uniform", "no effect without a target"),
        ("--file-size tiny", "write a fraction up to 1 (0.5 for half) or bytes (300kB, 2MB)"),
        ("--latency soon", "'soon' is not a time"),
        ("--keep-channels half", "is not a fraction of channels to keep"),
        ("--macs 0.5 --scope globl", "Did you mean 'global'?"),
        ("--baseline", "--examples"),
        ("--batch-size 0", "error: --batch-size must be at least 1, not 0."),
        ("--batch-size 1 --model convnet", "two images per step"),
        ("--resolution 1 --model convnet", "does not take images of 1 x 1 pixels"),
        ("--model timm:vit_tiny_patch16_224 --weights none", "does not take images of 8 x 8 pixels"),
        ("--tune head", "--tune names blocks of a pretrained network"),
        ("--model timm:tf_efficientnet_lite0 --tune blocks.9", "Did you mean 'blocks.6'?"),
        ("--model timm:tf_efficientnet_lite0 --tune last:x", "takes a number of blocks"),
        ("--learning-rate nan", "above 0"),
        ("--width -1", "above 0"),
        ("--dropout 1", "below 1"),
        ("--label-smoothing -1", "at least 0"),
        ("--shift 5", "below 1"),
        ("--patience 0", "at least 1"),
        ("--resolution 0", "at least 1"),
        ("--validation 1", "below 1"),
        ("--seed -1", "at least 0"),
        ("--threads 0", "at least 1"),
        ("--device tortoise", "tortoise"),
        ("--device meta", "--device cpu"),
        ("--memory 2GB --device cpu", "accelerator"),
        ("--weights nope.safetensors", "nope.safetensors"),
        ("--subset nope.json", "nope.json"),
        ("--recipe nope.yaml", "nope.yaml"),
        ("--method random", "unknown flag --method. Did you mean --select?"),
        ("extra", "unexpected argument 'extra'"),
        ("-x", "-x"),
    ],
)
def test_bad_settings(capsys, tmp_path: Path, words: str, message: str) -> None:
    assert message in one_line(capsys, ("run", "digits", *QUICK, *words.split()), tmp_path / "out")


@pytest.mark.parametrize("time", ["0", "-5", "abc", "5x", "nan", "inf"])
def test_bad_times(capsys, tmp_path: Path, time: str) -> None:
    assert "time" in one_line(capsys, ("run", "digits", "--time", time), tmp_path / "out")


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "empty"),
        ("- digits", "mapping"),
        ("a: [", "neither YAML nor JSON"),
        ("data: digits\nepoch: 3", "Did you mean 'epochs'?"),
        ("data: digits\ntrain: {modle: convnet}", "Did you mean 'train.model'?"),
        ("data: digits\ntrain: convnet", "mapping"),
        ("data: digits\nepochs: many", "epochs must be a number"),
        ("data: digits\nselect: {examples: 50, method: random, 3: 4}", "has no options"),
    ],
)
def test_bad_recipes(capsys, tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "recipe.yaml"
    file.write_text(text)
    assert message in one_line(capsys, ("run", "--recipe", str(file)), tmp_path / "out")


def test_budget_too_small_names_the_least_that_works(capsys, tmp_path: Path) -> None:
    words = ("run", "digits", "--model", "simplecnn", "--width", "0.25")
    error = one_line(capsys, (*words, "--epochs", "0.5"), tmp_path / "out", code=3)
    least = error.split("--epochs ")[-1].strip().rstrip(".")
    assert main([*words, "--epochs", least, "--out", str(tmp_path / "out"), "--quiet"]) == 0


def test_bad_images_can_be_skipped(capsys, tmp_path: Path) -> None:
    data, out = with_bad(tmp_path / "photos", b"hello"), tmp_path / "out"
    (data / "cat" / "notes.txt").write_text("hello")
    for index in range(30):
        (data / "dog" / f"bad{index:02d}.png").write_bytes(b"hello")
    assert main(["run", str(data), *QUICK, "--skip-bad", "--width", "0.1", "--out", str(out)]) == 0
    captured = capsys.readouterr()
    assert "bad one.png" in captured.err and "skipped 1 file that is not an image" in captured.err
    listed = json.loads((out / "skipped.json").read_text())
    assert len(listed) == 31 and listed[0] == {
        "image": str(data / "cat" / "bad one.png"),
        "reason": "it is not an image",
    }
    assert json.loads((out / "run.json").read_text())["result"]["skipped"] == 31
    assert "| unreadable images skipped | 31, listed in skipped.json |" in (out / "report" / "report.md").read_text()
    assert "31, listed in skipped.json" in captured.out
    only_test = photos(tmp_path / "more" / "test", cat=2, dog=3)
    (only_test / "dog" / "broken.png").write_bytes(b"hello")
    words = ["evaluate", str(out), "--on", str(tmp_path / "more"), "--skip-bad", "--json", "--out"]
    assert main([*words, str(tmp_path / "on")]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 5
    assert len(json.loads((tmp_path / "on" / "skipped.json").read_text())) == 1


def test_out_is_not_a_file_or_below_one(capsys, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    for out in (file, file / "sub"):
        assert "--out" in one_line(capsys, ("run", "digits", *QUICK), out)
    assert file.read_text() == "mine"


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write anywhere")
def test_out_in_a_read_only_folder_is_refused(capsys, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    assert "--out" in one_line(capsys, ("run", "digits", *QUICK), tmp_path / "out")


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04" + bytes(40), b"\x93NUMPY"])
def test_invalid_signals_file_is_a_one_line_error(capsys, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "signals.npz").write_bytes(content)
    words = ("select", "digits", "--examples", "9", "--method", "forgetting")
    error = one_line(capsys, (*words, "--signals", str(tmp_path / "signals.npz")), tmp_path / "out")
    assert "signals.npz is not a signals file" in error
