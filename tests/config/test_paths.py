from __future__ import annotations

from pathlib import Path

import pytest

from shoestring.config import paths
from shoestring.config.recipe import Recipe, Select, Train, as_dict
from shoestring.errors import UserError
from shoestring.runs.directory import RunDir


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder with photos in it, which is the working directory, too."""
    (tmp_path / "photos").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path.resolve()


@pytest.mark.parametrize("spelling", ["photos", "photos/", "./photos", "~/photos", "link", "photos/../photos"])
def test_every_spelling_of_a_place_makes_the_same_recipe(home, spelling):
    (home / "link").symlink_to(home / "photos")
    assert Recipe(data=spelling) == Recipe(data=str(home / "photos"))
    assert Recipe(data=f"folder:{spelling}").data == f"folder:{home / 'photos'}"


@pytest.mark.parametrize("name", ["digits", "cifar10", "owner/name", "owner/name@v1", "hub:owner/name", "nothing/here"])
def test_names_of_data_stay_as_they_are(home, name):
    assert Recipe(data=name).data == name
    assert paths.data_path(name) is None


def test_every_path_of_a_recipe_is_absolute(home):
    chosen = Select(features="~/f.npy", signals="s.npz", already="a.json", subset="b.json")
    recipe = Recipe(start="old", keep="~/k.json", select=chosen, train=Train(weights="w.safetensors"))
    values = as_dict(recipe)
    found = [values["start"], values["keep"], values["train"]["weights"]]
    found += [values["select"][name] for name in ("features", "signals", "already", "subset")]
    names = ["old", "k.json", "w.safetensors", "f.npy", "s.npz", "a.json", "b.json"]
    assert found == [str(home / name) for name in names]


def test_words_that_are_no_paths_stay(home):
    assert Train(weights="pretrained").weights == "pretrained"
    assert Select(features="timm:resnet18").features == "timm:resnet18"
    assert Select(features="timm:resnet18@w.safetensors").features == f"timm:resnet18@{home / 'w.safetensors'}"


@pytest.mark.parametrize("text", ["", "a\0b"])
def test_what_is_no_path_is_refused_with_the_setting(text):
    with pytest.raises(UserError, match=r"subset: .* is not a path"):
        Select(subset=text)


def test_a_home_that_does_not_exist_is_told(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no home folder"):
        paths.expanded("~nobody-of-this-name/x")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~x").mkdir()
    assert str(paths.expanded("~x")) == "~x"


def test_a_working_directory_that_was_removed_is_told(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UserError, match="working directory"):
        paths.absolute("x")


def test_one_place_in_another_overlaps_through_links(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    assert paths.overlap(tmp_path / "link" / "runs" / "one", tmp_path / "photos")
    assert paths.overlap(tmp_path, tmp_path / "photos")
    assert not paths.overlap(tmp_path / "photos2", tmp_path / "photos")


@pytest.mark.parametrize("text", ["file:///tmp/x", "https://example.org/x", "s3://bucket/x"])
def test_an_address_is_no_path(text):
    with pytest.raises(UserError, match=r"is an address, and a path is expected"):
        paths.absolute(text)
    with pytest.raises(UserError, match=r"is an address, and a path is expected"):
        RunDir(Path(text))
