"""What can be imported, in fresh processes: public names are loaded lazily and share names with packages."""

from __future__ import annotations

import pkgutil
import subprocess
import sys

import pytest

import shoestring

MODULES = [
    found.name
    for found in pkgutil.walk_packages(shoestring.__path__, "shoestring.")
    if not found.name.endswith("__main__")
]


def fresh(*lines: str) -> str:
    """What a new interpreter prints."""
    done = subprocess.run([sys.executable, "-c", "\n".join(lines)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_can_be_imported_under_a_name_of_its_own():
    lines = [f"import {name} as m; m.__name__ == {name!r} or print(m)" for name in MODULES]
    assert fresh(*lines) == ""
    assert fresh("import shoestring", "[getattr(shoestring, name) for name in shoestring.__all__]", *lines) == ""


INNER = {"evaluate": "metrics", "prune": "cut", "select": "pool", "train": "loop"}


@pytest.mark.parametrize("first", ["functions", "packages"])
def test_functions_and_packages_of_one_name_work_in_any_order(first):
    script = ["import shoestring"]
    for name, inner in INNER.items():
        call = f"try: shoestring.{name}(1, 2, 3, 4)\nexcept TypeError as error: print(error)"
        package = f"import shoestring.{name} as package; assert package.__path__"
        module = f"import shoestring.{name}.{inner} as m; from shoestring.{name} import {inner}; assert {inner} is m"
        bare = f"from shoestring import {name}; assert callable({name})"
        script += [call, package, module, bare, call] if first == "functions" else [module, bare, package, call, call]
    told = fresh(*script).splitlines()
    assert [line.partition("()")[0] for line in told] == [name for name in INNER for _ in range(2)]


def test_functions_tell_their_signature_and_can_be_pickled():
    printed = fresh(
        "import inspect, pickle, shoestring.steps",
        "for name in ('evaluate', 'prune', 'select', 'train'):",
        "    one, other = getattr(shoestring, name), getattr(shoestring.steps, name)",
        "    assert inspect.signature(one) == inspect.signature(other)",
        "    assert pickle.loads(pickle.dumps(one)) is one",
        "print(shoestring.nothing if hasattr(shoestring, 'nothing') else 'nothing')",
    )
    assert printed == "nothing\n"
