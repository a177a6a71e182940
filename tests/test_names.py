"""Imports in new processes: public names are loaded lazily, and no module is shadowed by a function."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import shoestring

MODULES = [
    found.name
    for found in pkgutil.walk_packages(shoestring.__path__, "shoestring.")
    if not found.name.endswith("__main__")
]


def fresh(*lines: str) -> str:
    """Return the output of a new interpreter."""
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_can_be_imported_under_its_own_name():
    lines = [f"import {name} as m; m.__name__ == {name!r} or print(m)" for name in MODULES]
    assert fresh(*lines) == ""
    assert fresh("import shoestring", "[getattr(shoestring, name) for name in shoestring.__all__]", *lines) == ""


def test_functions_have_their_signature_and_can_be_pickled():
    printed = fresh(
        "import inspect, pickle, shoestring.api",
        "for name in ('evaluate', 'prune', 'select', 'train'):",
        "    one, other = getattr(shoestring, name), getattr(shoestring.api, name)",
        "    assert inspect.signature(one) == inspect.signature(other)",
        "    assert pickle.loads(pickle.dumps(one)) is one",
        "print(shoestring.nothing if hasattr(shoestring, 'nothing') else 'nothing')",
    )
    assert printed == "nothing\n"
