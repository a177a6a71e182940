"""Imports in new processes: public names are loaded lazily, and no module is shadowed by a function."""

from __future__ import annotations

import os
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
IMPORTS = "\n".join(f"import {name} as m; m.__name__ == {name!r} or print(m)" for name in MODULES)
NAMES_FIRST = f"import shoestring\n[getattr(shoestring, name) for name in shoestring.__all__]\n{IMPORTS}"
FUNCTIONS = """
import inspect, pickle, shoestring.api
for name in ('evaluate', 'prune', 'select', 'train'):
    one, other = getattr(shoestring, name), getattr(shoestring.api, name)
    assert inspect.signature(one) == inspect.signature(other)
    assert pickle.loads(pickle.dumps(one)) is one
assert not hasattr(shoestring, 'nothing')
"""
# imports what modules import, which takes seconds, and runs each script in a process of its own
FORKED = """
import os, sys, traceback
import matplotlib.figure, sklearn.linear_model, timm, torch.distributed.nn, torchvision.datasets
for script in sys.argv[1:]:
    assert not [name for name in sys.modules if name.startswith("shoestring")]
    if not os.fork():
        try:
            exec(script, {"__name__": "__main__"})
            sys.stdout.flush()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert not os.wait()[1]
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_modules_can_be_imported_under_their_own_names_and_functions_be_pickled():
    scripts = [IMPORTS, NAMES_FIRST, FUNCTIONS]
    done = subprocess.run([sys.executable, "-c", FORKED, *scripts], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
