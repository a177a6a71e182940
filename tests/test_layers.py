from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_imports_go_down_only(monkeypatch):
    pytest.importorskip("importlinter")
    from importlinter.cli import lint_imports

    monkeypatch.chdir(ROOT)
    monkeypatch.syspath_prepend(str(ROOT / "src"))
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0, "see the output above"


def test_importing_shoestring_imports_nothing_heavy():
    code = "import sys, shoestring; assert shoestring.Budget; sys.exit(bool({'torch', 'numpy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT / "src").returncode == 0


def test_public_names_are_loaded_on_first_use():
    import shoestring

    assert callable(shoestring.select)
    assert callable(shoestring.prune)
    assert set(shoestring.__all__) <= set(dir(shoestring))
    with pytest.raises(AttributeError, match="no attribute 'selct'"):
        shoestring.selct  # noqa: B018
