from __future__ import annotations

from pathlib import Path

import pytest

from shoestring.config import paths
from shoestring.config.recipe import Recipe, Select, Train
from shoestring.config.serialize import as_dict
from shoestring.errors import UserError
from shoestring.runs.directory import RunDir


@pytest.fixture
def home(tmp_path, monkeypatch):
    """A home folder with photos, which is also the working directory."""
    (tmp_path / "photos").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path.resolve()


@pytest.mark.parametrize("spelling", ["photos", "photos/", "./photos", "~/photos", "link", "photos/../photos"])
def test_every_spelling_of_a_path_gives_the_same_recipe(home, spelling):
    (home / "link").symlink_to(home / "photos")
    assert Recipe(data=spelling) == Recipe(data=str(home / "photos"))
    assert Recipe(data=f"folder:{spelling}").data == f"folder:{home / 'photos'}"


@pytest.mark.parametrize("name", ["digits", "cifar10", "owner/name", "owner/name@v1", "hub:owner/name", "nothing/here"])
def test_names_of_data_sets_are_kept(home, name):
    assert Recipe(data=name).data == name
    assert paths.data_path(name) is None


def test_every_path_of_a_recipe_is_absolute(home):
    select = Select(features="~/f.npy", signals="s.npz", already="a.json", subset="b.json")
    recipe = Recipe(start="old", keep="~/k.json", select=select, train=Train(weights="w.safetensors"))
    values = as_dict(recipe)
    actual = [values["start"], values["keep"], values["train"]["weights"]]
    actual += [values["select"][name] for name in ("features", "signals", "already", "subset")]
    names = ["old", "k.json", "w.safetensors", "f.npy", "s.npz", "a.json", "b.json"]
    assert actual == [str(home / name) for name in names]


def test_values_that_are_not_paths_are_kept(home):
    assert Train(weights="pretrained").weights == "pretrained"
    assert Select(features="timm:resnet18").features == "timm:resnet18"
    assert Select(features="timm:resnet18@w.safetensors").features == f"timm:resnet18@{home / 'w.safetensors'}"


@pytest.mark.parametrize("text", ["", "a\0b"])
def test_an_invalid_path_is_refused_with_the_setting(text):
    with pytest.raises(UserError, match=r"subset: .* is not a path"):
        Select(subset=text)


def test_a_home_folder_that_does_not_exist_is_an_error(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="no home folder"):
        paths.expanded("~nobody-of-this-name/x")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "~x").mkdir()
    assert str(paths.expanded("~x")) == "~x"


def test_a_removed_working_directory_is_an_error(tmp_path, monkeypatch):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    with pytest.raises(UserError, match="working directory"):
        paths.absolute("x")


def test_nested_paths_overlap_through_links(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "photos")
    assert paths.overlap(tmp_path / "link" / "runs" / "one", tmp_path / "photos")
    assert paths.overlap(tmp_path, tmp_path / "photos")
    assert not paths.overlap(tmp_path / "photos2", tmp_path / "photos")


@pytest.mark.parametrize("text", ["file:///tmp/x", "https://example.org/x", "s3://bucket/x"])
def test_a_url_is_not_a_path(text):
    with pytest.raises(UserError, match=r"is a URL, and a path is expected"):
        paths.absolute(text)
    with pytest.raises(UserError, match=r"is a URL, and a path is expected"):
        RunDir(Path(text))
