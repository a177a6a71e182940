from __future__ import annotations

import subprocess
import sys

import pytest

from shoestring.cli.main import VERBS

SCRIPT = """
import sys
from shoestring.cli.main import main
try:
    main(sys.argv[1:])
except SystemExit as ended:
    assert ended.code == 0, ended.code
print("heavy:", *(name for name in ("torch", "numpy", "sklearn", "timm", "torchvision", "PIL") if name in sys.modules))
"""


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("list",), *((verb, "--help") for verb in VERBS)])
def test_no_heavy_package_is_imported_before_parsing(words: tuple[str, ...]) -> None:
    ran = subprocess.run([sys.executable, "-c", SCRIPT, *words], capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1].strip() == "heavy:"
