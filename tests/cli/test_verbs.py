from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoestring.cli.main import main
from shoestring.escaping import markdown

KEYS = {"accuracy", "interval", "per_class", "params", "macs", "seconds", "out"}
NET = ("--model", "convnet", "--width", "0.125")


def call(capsys: pytest.CaptureFixture[str], *words: object) -> dict:
    capsys.readouterr()
    assert main([*map(str, words), "--json", "--quiet"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    return json.loads(captured.out)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "trained"
    assert main(["train", "digits", "--epochs", "4", *NET, "--out", str(folder), "--quiet"]) == 0
    return folder


def test_run_does_all_steps_and_reports_them(capsys, tmp_path: Path, few_digits: None) -> None:
    words = ("run", "digits", "--examples", "150", "--epochs", "24", "--macs", "0.5", *NET, "--baseline")
    result = call(capsys, *words, "--out", tmp_path / "run")
    assert result.keys() >= KEYS
    assert result["macs"] <= 0.5 * result["before_pruning"]["macs"]
    low, high = result["interval"]
    assert low <= result["accuracy"] <= high
    assert len(result["per_class"]) == 10
    assert 0 <= result["baseline"]["accuracy"] <= 1
    assert result["examples"] == 150
    files = {str(file.relative_to(tmp_path / "run")) for file in (tmp_path / "run").rglob("*") if file.is_file()}
    assert files >= {
        *("recipe.yaml", "run.json", "history.jsonl", "select/subset.json", "report/report.md"),
        *("train/model.json", "train/model.safetensors", "prune/model.json", "prune/model.safetensors"),
        *(f"evaluate/{name}" for name in ("metrics.json", "per_class.csv", "confusion.csv", "predictions.csv")),
    }
    assert not [file for file in files if "state.pt" in file]
    assert call(capsys, *words, "--out", tmp_path / "run") == result


def test_run_with_an_epoch_budget_is_reproducible(capsys, tmp_path: Path, trained: Path) -> None:
    again = call(capsys, "run", "--recipe", trained / "recipe.yaml", "--out", tmp_path / "again")
    assert (tmp_path / "again/train/model.safetensors").read_bytes() == (
        trained / "train/model.safetensors"
    ).read_bytes()
    assert again["accuracy"] == call(capsys, "report", trained)["accuracy"]


def test_different_run_in_the_same_folder_is_refused(capsys, trained: Path) -> None:
    assert main(["train", "digits", "--epochs", "5", *NET, "--out", str(trained)]) == 2
    assert "epochs is 4.0 there and 5.0 here" in capsys.readouterr().err


def test_train_accepts_the_subset_of_select(capsys, tmp_path: Path) -> None:
    words = ("select", "digits", "--examples", 200, "--method", "random", "--out", tmp_path / "chosen")
    selected = call(capsys, *words)
    assert selected["examples"] == 200 and set(selected["per_class"].values()) == {20}
    words = ("train", "digits", "--subset", selected["subset"], "--epochs", 12, *NET, "--out", tmp_path / "run")
    result = call(capsys, *words)
    assert result.keys() >= KEYS and result["examples"] == 200


def test_verbs_with_equal_arguments_have_separate_folders(capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    words = ("digits", "--examples", "50", "--epochs", "8")
    selected = call(capsys, "select", *words, "--method", "random")
    assert call(capsys, "run", *words, "--select", "random")["out"] != selected["out"]
    assert main(["report", selected["out"]]) == 2
    assert "is a selection" in capsys.readouterr().err
    assert main(["evaluate", selected["out"]]) == 2
    assert "is a selection" in capsys.readouterr().err


def test_prune_accepts_its_saved_recipe(capsys, tmp_path: Path, trained: Path) -> None:
    one = call(capsys, "prune", trained, "--params", "0.5", "--epochs", 2, "--out", tmp_path / "one")
    other = call(capsys, "prune", "--recipe", tmp_path / "one" / "recipe.yaml", "--out", tmp_path / "other")
    assert other["params"] == one["params"]


def _photos(folder: Path, count: int = 12) -> Path:
    rng = np.random.default_rng(0)
    for name in ("cat", "dog"):
        (folder / name).mkdir(parents=True)
        for index in range(count):
            Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8)).save(folder / name / f"{index}.png")
    return folder


def test_evaluate_refuses_changed_images(capsys, tmp_path: Path) -> None:
    photos = _photos(tmp_path / "photos")
    call(capsys, "train", photos, "--epochs", 20, *NET, "--out", tmp_path / "run")
    assert call(capsys, "evaluate", tmp_path / "run")["images"] == 5
    shutil.copy(photos / "cat" / "1.png", photos / "cat" / "more.png")
    assert main(["evaluate", str(tmp_path / "run")]) == 2
    assert "have changed since" in capsys.readouterr().err


def test_skipped_images_are_listed(capsys, tmp_path: Path, trained: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    Image.new("L", (8, 8)).save(tmp_path / "good.png")
    names = [str(tmp_path / name) for name in ("good.png", "broken.png")]
    assert main(["predict", str(trained), *names, "--skip-bad"]) == 0
    captured = capsys.readouterr()
    assert "broken.png" in captured.err and "good.png" in captured.out


def test_images_of_one_class_can_be_evaluated_but_not_trained_on(capsys, tmp_path: Path) -> None:
    call(capsys, "train", _photos(tmp_path / "photos"), "--epochs", 20, *NET, "--out", tmp_path / "run")
    shutil.rmtree(_photos(tmp_path / "cats") / "dog")
    assert call(capsys, "evaluate", tmp_path / "run", "--on", tmp_path / "cats")["images"] == 12
    assert main(["train", str(tmp_path / "cats"), "--epochs", "20", "--out", str(tmp_path / "other")]) == 2
    assert "only one class" in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="file names are Unicode elsewhere")
def test_file_names_need_not_be_text(capsys, tmp_path: Path) -> None:
    photos = _photos(tmp_path / "photos")
    for index in range(12):
        (photos / "dog" / f"{index}.png").rename(os.fsdecode(os.fsencode(photos / "dog") + b"/\xff%d.png" % index))
    words = ("run", photos, "--examples", 10, "--epochs", 20, *NET, "--select", "random", "--out", tmp_path / "run")
    result = call(capsys, *words)
    assert call(capsys, *words) == result
    assert "\\udcff" in (tmp_path / "run" / "evaluate" / "predictions.csv").read_text()
    odd = str(next((photos / "dog").iterdir()))
    assert main(["predict", str(tmp_path / "run"), odd]) == 0


def test_prune_accepts_a_run(capsys, tmp_path: Path, trained: Path) -> None:
    result = call(capsys, "prune", trained, "--params", "0.5", "--epochs", 3, "--out", tmp_path / "small")
    assert result.keys() >= KEYS
    assert result["params"] <= 0.5 * call(capsys, "report", trained)["params"]


def test_evaluate_uses_the_test_images_of_the_run_or_other_data(capsys, tmp_path: Path, trained: Path) -> None:
    reported = call(capsys, "report", trained)
    own = call(capsys, "evaluate", trained, "--out", tmp_path / "numbers")
    assert (own["images"], own["accuracy"]) == (reported["images"], reported["accuracy"])
    assert (tmp_path / "numbers" / "metrics.json").is_file()
    assert call(capsys, "evaluate", trained, "--split", "validation")["accuracy"] == reported["validation"]
    assert call(capsys, "evaluate", trained, "--on", "digits")["images"] == 1797


def test_evaluate_on_a_folder_uses_the_classes_of_the_model(capsys, tmp_path: Path, trained: Path) -> None:
    for name in ("7", "3"):
        (tmp_path / name).mkdir()
        for index in range(3):
            Image.fromarray(np.full((8, 8), 80 * index, np.uint8)).save(tmp_path / name / f"{index}.png")
    metrics = call(capsys, "evaluate", trained, "--on", tmp_path)
    assert metrics["images"] == 6 and metrics["per_class"]["7"]["images"] == 3
    (tmp_path / "7").rename(tmp_path / "seven")
    assert main(["evaluate", str(trained), "--on", str(tmp_path)]) == 2
    assert "seven" in capsys.readouterr().err


def test_predict_names_the_classes_of_files(capsys, tmp_path: Path, trained: Path) -> None:
    file, text = tmp_path / "ein Bild ü.png", tmp_path / "text.txt"
    Image.fromarray(np.zeros((30, 20, 3), np.uint8)).save(file)
    text.write_text("hello")
    [entry] = call(capsys, "predict", trained, file, text, "--skip-bad", "--top", 3)
    probabilities = [guess["probability"] for guess in entry["classes"]]
    assert (
        entry["image"] == str(file) and len(probabilities) == 3 and probabilities == sorted(probabilities, reverse=True)
    )
    call(capsys, "predict", trained, file, "--top", 2, "--csv", tmp_path / "table.csv")
    lines = (tmp_path / "table.csv").read_text().splitlines()
    assert lines[0] == "image,class,probability,class_2,probability_2,error"
    cells = [str(cell) for guess in entry["classes"][:2] for cell in guess.values()]
    assert lines[1] == ",".join([str(file), *cells, ""])
    call(capsys, "predict", trained, file, "--csv", tmp_path / "table.csv", "--overwrite")
    assert (tmp_path / "table.csv").read_text().startswith("image,class,probability,error\n")
    assert main(["predict", str(trained), str(file), str(text)]) == 2
    assert "text.txt" in capsys.readouterr().err


def test_report_rewrites_the_page(capsys, trained: Path) -> None:
    page = trained / "report" / "report.md"
    before = page.read_text()
    page.unlink()
    assert main(["report", str(trained)]) == 0
    assert "test accuracy" in capsys.readouterr().out
    assert page.read_text() == before


def test_list_and_check(capsys) -> None:
    assert "forgetting" in call(capsys, "list", "select")["select"]
    assert "--select.order" in call(capsys, "list", "select", "forgetting")["select"]
    summary = call(capsys, "check", "digits")
    assert summary["data"]["train"] + summary["data"]["validation"] + summary["data"]["test"] == 1797
    assert main(["check", "digits"]) == 0
    assert "smallest class" in capsys.readouterr().out


def test_collapsed_run_is_warned_about_everywhere(capsys, tmp_path: Path) -> None:
    words = ["run", "digits", "--model", "simplecnn", "--width", "0.25", "--epochs", "4", "--macs", "0.5"]
    words += ["--optimizer", "sgd", "--learning-rate", "1e-9", "--out", str(tmp_path / "run")]
    for _ in range(2):  # the second time the run is already done
        assert main(words) == 0
        captured = capsys.readouterr()
        warnings = [
            line.removeprefix("warning: ") for line in captured.err.splitlines() if line.startswith("warning: ")
        ]
        assert [text.split()[0] for text in warnings[:2]] == ["accuracy", "loss"]
        assert "of 10 classes are never predicted" in warnings[2]
        assert call(capsys, *words)["warnings"] == warnings
    page = (tmp_path / "run" / "report" / "report.md").read_text()
    assert all(f"**Warning:** {markdown(text)}." in page for text in warnings)
    assert main(["evaluate", str(tmp_path / "run")]) == 0
    captured = capsys.readouterr()
    assert [line for line in captured.err.splitlines() if line.startswith("warning: ")] == [
        f"warning: {text}" for text in warnings[:3]
    ]
    assert call(capsys, "evaluate", tmp_path / "run")["warnings"] == warnings[:3]


def test_costly_pruning_is_warned_about(capsys, tmp_path: Path, trained: Path) -> None:
    small = ("--macs", "0.1", "--epochs", "1.5", "--learning-rate", "1e-9", "--out")
    result = call(capsys, "prune", trained, *small, tmp_path / "small")
    losses = [text for text in result["warnings"] if text.startswith("validation accuracy fell from")]
    assert len(losses) == 1 and " before pruning to " in losses[0]
    assert (
        call(capsys, "train", "digits", "--epochs", "8", "--model", "simplecnn", "--out", tmp_path / "good")["warnings"]
        == []
    )
