from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from shoestring.cli.main import main


def test_run_folder_is_accepted_as_a_subset(call, refused, tmp_path):
    first = call("select", "digits", "--examples", 20, "--method", "random", "--out", tmp_path / "first")
    more = ("--examples", 30, "--method", "random", "--already", tmp_path / "first")
    second = call("select", "digits", *more, "--out", tmp_path / "second")
    before, after = (json.loads(Path(result["subset"]).read_text())["ids"] for result in (first, second))
    assert after[:20] == before
    trained = call("train", "digits", "--subset", tmp_path / "second", "--epochs", 20, "--out", tmp_path / "third")
    assert trained["examples"] == 30
    again = ("train", "digits", "--subset", tmp_path / "third", "--epochs", 20, "--out", tmp_path / "fourth")
    assert call(*again)["examples"] == 30
    assert "no subset file" in refused("train", "digits", "--subset", tmp_path, "--epochs", 20)


def test_unused_signals_are_logged(capsys, tmp_path):
    words = ("select", "digits", "--examples", 20, "--method", "random", "--out", tmp_path / "out")
    assert main([*map(str, words), "--signals", str(tmp_path / "signals.npz")]) == 0
    assert f"random uses no training signals: {tmp_path / 'signals.npz'} is not written" in capsys.readouterr().err


def test_selection_without_labels_extends_an_earlier_one(call, photos, rows, tmp_path):
    words = ("select", photos, "--unlabeled", "--features", rows, "--method", "k_center")
    first = call(*words, "--examples", 5, "--out", tmp_path / "first", "--copy-to", tmp_path / "copies")
    assert first["per_class"] is None
    assert len([file for file in (tmp_path / "copies").iterdir() if file.is_file()]) == 5
    more = ("--examples", 9, "--already", first["subset"], "--out", tmp_path / "second")
    second = call(*words, *more, "--csv", tmp_path / "list.csv")
    before, after = (json.loads(Path(result["subset"]).read_text()) for result in (first, second))
    assert after["ids"][:5] == before["ids"] and len(set(after["ids"])) == 9 and second["kept"] == 5
    with (tmp_path / "list.csv").open() as file:
        assert [row["already"] for row in csv.DictReader(file)] == list("111110000")


def test_unlabeled_folder_needs_no_class_folders(call, photos, tmp_path):
    for index, file in enumerate(sorted(photos.rglob("*.png"))):
        file.rename(photos / f"{index}.png")
    for name in ("cat", "dog"):
        (photos / name).rmdir()
    words = ("select", photos, "--unlabeled", "--method", "random", "--examples", 4)
    assert call(*words, "--out", tmp_path / "out")["examples"] == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--unlabeled",), "--features"),
        (("--unlabeled", "--method", "margin"), "--features"),
        (("--unlabeled", "--method", "margin", "--features", "ROWS"), "facility_location"),
        (("--unlabeled", "--method", "random", "--within", "easiest:0.5"), "labels"),
        (("--features", "SHORT"), "20 rows, but there are 17 images (or 24, all of train)"),
        (("--features", "nowhere"), "nowhere: pass an .npy file"),
        (("--balance", "cat=2"), "cat=2"),
        (("--balance", "cow=2"), "unknown class in --balance 'cow'"),
        (("--already", "nowhere.json"), "nowhere.json"),
        (("--unlabeled", "--method", "random", "--balance", "proportional"), "--balance needs labels"),
        (("--method", "random", "--csv", "."), "--csv takes a file"),
    ],
)
def test_invalid_settings_are_one_line_errors(refused, photos, rows, tmp_path, words, message):
    np.save(tmp_path / "short.npy", np.ones((20, 3)))
    words = [{"ROWS": str(rows), "SHORT": str(tmp_path / "short.npy")}.get(word, word) for word in words]
    if message == "cat=2":
        words += ["--balance", "cat=2,dog=1"]
        message = "add up to 3, but --examples is 4"
    assert message in refused("select", photos, "--examples", 4, *words, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_counts_per_class(call, photos, tmp_path):
    words = ("select", photos, "--examples", 7, "--method", "random", "--balance", "cat=2")
    assert call(*words, "--out", tmp_path / "out")["per_class"] == {"cat": 2, "dog": 5}


def test_duplicates_are_excluded_and_test_duplicates_reported(call, photos, tmp_path):
    for name in ("cat", "dog"):
        (photos / "train").mkdir(exist_ok=True)
        (photos / name).rename(photos / "train" / name)
        for split in ("val", "test"):
            (photos / split / name).mkdir(parents=True)
            Image.effect_noise((16, 16), 50).convert("RGB").save(photos / split / name / "new.png")
    (photos / "test" / "dog" / "new.png").write_bytes((photos / "train" / "dog" / "3.png").read_bytes())
    for index in range(3):
        (photos / "train" / "cat" / f"x{index}.png").write_bytes((photos / "train" / "cat" / "2.png").read_bytes())
    words = ("select", photos, "--examples", 10, "--method", "random", "--drop-duplicates")
    result = call(*words, "--out", tmp_path / "out")
    assert result["left_out"] == 3
    assert result["test_images_in_training"] == ["test/dog/new.png"]
    words = ("run", photos, "--examples", 24, "--select", "random", "--drop-duplicates", "--balance", "none")
    result = call(*words, "--epochs", 8, "--batch-size", 16, "--out", tmp_path / "run")
    assert result["test_images_in_training"] == ["test/dog/new.png"]
    assert "test images also in training" in (tmp_path / "run" / "report" / "report.md").read_text()


def test_train_on_a_published_list(call, tmp_path):
    (tmp_path / "list.json").write_text(json.dumps({"training_indices": list(range(0, 1200, 4))}))
    words = ("train", "digits", "--subset", tmp_path / "list.json", "--epochs", 4, "--model", "convnet")
    result = call(*words, "--width", 0.125, "--out", tmp_path / "out")
    assert (result["examples"], result["select"]) == (300, "list")
    assert call("evaluate", tmp_path / "out")["accuracy"] == result["accuracy"]


def test_extended_list_can_be_trained_on_evaluated_and_compared(call, tmp_path):
    np.save(tmp_path / "list.npy", np.arange(40))
    words = ("select", "digits", "--method", "random", "--already", tmp_path / "list.npy", "--balance", "none")
    subset = call(*words, "--examples", 60, "--out", tmp_path / "chosen")["subset"]
    more = ("select", "digits", "--method", "random", "--already", subset, "--examples", 80, "--balance", "none")
    assert call(*more, "--out", tmp_path / "more")["kept"] == 60
    words = ("run", "digits", "--subset", subset, "--epochs", 30, "--model", "convnet", "--width", 0.125, "--baseline")
    result = call(*words, "--out", tmp_path / "out")
    assert call("evaluate", tmp_path / "out")["accuracy"] == result["accuracy"]
    prints = [json.loads((tmp_path / f / "run.json").read_text())["data"] for f in ("out", "out/baseline")]
    assert prints[0] == prints[1]


def test_keep_and_subset_are_not_combined(refused, tmp_path):
    np.save(tmp_path / "list.npy", np.arange(40))
    words = ("train", "digits", "--subset", tmp_path / "list.npy", "--keep", tmp_path / "list.npy", "--epochs", 1)
    assert "omit --keep" in refused(*words, "--out", tmp_path / "out")


def test_class_that_already_exceeds_its_count_is_named(refused, photos, tmp_path):
    np.save(tmp_path / "list.npy", np.arange(4))
    words = ("select", photos, "--method", "random", "--already", tmp_path / "list.npy", "--examples", 8)
    assert "class 'cat' in --balance have been selected already" in refused(
        *words, "--balance", "cat=1", "--out", tmp_path / "o"
    )


def test_training_without_labels_is_refused(refused, tmp_path):
    (tmp_path / "recipe.yaml").write_text("data: digits\nunlabeled: true\nepochs: 1\n")
    error = refused("run", "--recipe", tmp_path / "recipe.yaml", "--out", tmp_path / "out")
    assert "trained on labels" in error


@pytest.mark.parametrize("option", ["--cut 0.2 --method ccs", "--samples 8 --method zcore"])
def test_option_similar_to_a_flag_is_accepted(option, capsys):
    assert main(["select", "digits", "--examples", "30", *option.split(), "--dry-run"]) == 0
    assert f"select.{option.split()[0][2:]}" in capsys.readouterr().out


def test_unused_features_are_logged(call, refused, capsys, photos, rows, tmp_path):
    words = ["select", photos, "--examples", 4, "--method", "random", "--out", tmp_path / "out", "--features"]
    assert "nowhere.npy: pass an .npy file" in refused(*words, "nowhere.npy")
    assert main([*map(str, words), str(rows)]) == 0
    assert f"random compares no images: {rows} is not used" in capsys.readouterr().err


def test_class_name_with_a_comma_is_set_in_a_recipe(call, photos, tmp_path):
    (photos / "cat").rename(photos / "cat, small")
    (tmp_path / "numbers.yaml").write_text("select: {balance: {'cat, small': 1}}")
    words = ("select", photos, "--examples", 5, "--method", "random", "--recipe", tmp_path / "numbers.yaml")
    assert call(*words, "--out", tmp_path / "out")["per_class"] == {"cat, small": 1, "dog": 4}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--select random", "unknown flag --select. Did you mean --method?"),
        ("--selct random", "unknown flag --selct."),
        ("--odrer hardest --method margin", "unknown flag --odrer. Did you mean --order?"),
        ("--order hardest", "'order' is an option of a selection method: name the method as well"),
    ],
)
def test_options_of_no_method_are_refused_before_loading(words, message, capsys):
    assert main(["select", "digits", "--examples", "30", *words.split()]) == 2
    captured = capsys.readouterr().err
    assert message in captured and "loading" not in captured
