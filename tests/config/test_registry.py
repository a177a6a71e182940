from __future__ import annotations

import importlib
from importlib.metadata import EntryPoint

import pytest

import shoestring
from shoestring.config import registry
from shoestring.errors import UserError


def first_images(pool, size, *, rng, start: int = 0):
    """The first images in their order.

    As a baseline.
    """
    return range(start, start + size)


@pytest.fixture
def plugin(monkeypatch):
    point = EntryPoint("first", f"{__name__}:first_images", "shoestring.select")
    monkeypatch.setattr(EntryPoint, "load", lambda self: first_images)
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == "shoestring.select" else [])


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("select", {"random", "margin", "forgetting", "diversity"}),
        ("grow", {"constant", "resolution"}),
        ("prune", {"greedy", "magnitude", "random"}),
        ("models", {"convnet", "resnet18", "resnet20", "resnet56", "vgg8", "vgg16", "simplecnn"}),
        ("data", {"folder", "arrays", "hub", "torchvision", "digits"}),
    ],
)
def test_built_in_names(kind, expected):
    assert expected <= set(registry.names(kind))
    assert registry.names(kind) == sorted(registry.names(kind))


@pytest.mark.parametrize("kind", registry.PROTOCOLS)
def test_every_method_has_its_name_and_a_one_line_summary(kind):
    for name in registry.names(kind):
        assert registry.find(kind, name).__name__ == name
        assert registry.summary(kind, name).endswith(".")
        assert "\n" not in registry.summary(kind, name)


def test_a_file_in_the_package_is_a_method(monkeypatch, tmp_path):
    folder = tmp_path / "selection" / "methods"
    folder.mkdir(parents=True)
    (folder / "lastly.py").write_text(
        'def helper(x):\n    """No."""\n\ndef _hidden(pool):\n    """No."""\n\n'
        'def lastly(pool, size, *, rng):\n    """The last\n    ones.\n\n    More.\n    """\n    return 5\n'
    )
    package = importlib.import_module("shoestring.selection.methods")
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(folder)])
    monkeypatch.setattr(shoestring, "__file__", str(tmp_path / "__init__.py"))
    monkeypatch.setattr(registry, "_built_in", registry._built_in.__wrapped__)
    assert registry.names("select") == ["lastly"]
    assert registry.summary("select", "lastly") == "The last ones."
    assert registry.find("select", "lastly")(None, 1, rng=None) == 5


def test_an_entry_point_of_another_package_is_a_method(plugin):
    assert "first" in registry.names("select")
    assert "first" not in registry.names("prune")
    assert registry.find("select", "first") is first_images
    assert registry.summary("select", "first") == "The first images in their order."
    assert registry.bind("select", "first", {"start": "3"}) == {"start": 3}


def test_an_unknown_name_gets_the_nearest_one():
    with pytest.raises(UserError, match=r"unknown pruning method 'magnitud'\. Did you mean 'magnitude'\?") as caught:
        registry.find("prune", "magnitud")
    assert "shoestring list prune" in str(caught.value)


def test_options_come_from_the_signature():
    options = registry.options("select", "forgetting")
    assert list(options) == ["order"]
    assert options["order"].default == "easiest"
    assert options["order"].choices == ("easiest", "hardest")


def test_bind_converts_options():
    assert registry.bind("select", "diversity", {"swaps": "5"}) == {"swaps": 5}
    assert registry.bind("select", "diversity", {}) == {}


@pytest.mark.parametrize(
    ("name", "given", "message"),
    [
        ("random", {"a": 1}, "'random' has no options, but 'a' was given"),
        ("forgetting", {"oder": "hardest"}, "Did you mean 'order'?"),
        ("forgetting", {"order": "hardes"}, "Did you mean 'hardest'?"),
        ("diversity", {"swaps": "few"}, "diversity's option 'swaps' must be an integer"),
        ("d2", {"darkest": "x"}, "selection method 'd2' has no option 'darkest'. Known:"),
        ("d2", {"order": "x"}, "d2's option 'order' must be easiest or hardest, not 'x'."),
        ("random", {"rng": 1}, "has no options"),
    ],
)
def test_bind_refuses_unknown_options_and_values(name, given, message):
    with pytest.raises(UserError) as caught:
        registry.bind("select", name, given)
    assert message in str(caught.value)
