from __future__ import annotations

import json

import pytest

from shoestring.errors import UserError
from shoestring.runtime.extras import check_installed, install_command, require


def test_missing_packages_are_named_as_pip_knows_them():
    with pytest.raises(UserError) as caught:
        check_installed(["json", "not_there"], what="juggling", extra="circus")
    assert str(caught.value) == 'juggling needs another package, not-there: pip install "shoestring[circus]".'
    check_installed(["json"], what="juggling", extra="circus")


def test_modules_are_imported():
    assert require("json", what="juggling", extra="circus") is json
    for name in ("not_there", "not_there.part"):
        with pytest.raises(UserError, match=r"juggling needs another package, not-there: .*\[circus\]"):
            require(name, what="juggling", extra="circus")


def test_a_package_that_lacks_another_one_is_not_reported_as_missing(tmp_path, monkeypatch):
    (tmp_path / "broken_package.py").write_text("import something_else_that_is_missing")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="something_else_that_is_missing"):
        require("broken_package", what="juggling", extra="circus")


def test_command():
    assert install_command("heic") == 'pip install "shoestring[heic]"'
