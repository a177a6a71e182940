from __future__ import annotations

import subprocess
import sys
from importlib import metadata

import pytest

from shoestring.serving import requirements

LINES = [
    "torch>=2.6",
    "datasets>=3; extra == 'hub'",
    "fastapi>=0.115; extra == 'serve'",
    "uvloop>=0.19; (sys_platform != 'win32') and extra == 'serve'",
    "fastapi>=0.115; extra == 'all'",
]


def test_requirements_are_those_of_the_extra(monkeypatch) -> None:
    monkeypatch.setattr(requirements, "requires", lambda name: LINES)
    assert requirements.requirements() == ["fastapi>=0.115", "uvloop>=0.19; sys_platform != 'win32'"]


def test_they_name_every_package_that_is_checked() -> None:
    declared = " ".join(metadata.requires("shoestring") or [])
    if "extra == 'serve'" not in declared.replace('"', "'"):
        pytest.skip("shoestring was installed before it had this extra")
    names = {line.split(">")[0] for line in requirements.requirements()}
    assert {module.replace("_", "-") for module in requirements._MODULES} <= names
    assert not {"torch", "scipy", "scikit-learn", "timm"} & names


def test_serving_imports_none_of_the_packages_for_training() -> None:
    code = (
        "import sys; import shoestring.cli.serve, shoestring.serving.server, shoestring.serving.workers; "
        "print(*{'torch', 'torchvision', 'timm', 'sklearn', 'scipy', 'matplotlib', 'rich', 'yaml', 'jinja2', "
        "'filelock', 'safetensors'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
