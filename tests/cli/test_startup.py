from __future__ import annotations

import subprocess
import sys

from shoestring.cli.main import VERBS

SCRIPT = """
import sys
from shoestring.cli.main import main
for words in sys.argv[1:]:
    try:
        main(words.split())
    except SystemExit as ended:
        assert ended.code == 0, ended.code
    heavy = {"torch", "numpy", "sklearn", "timm", "torchvision", "PIL"} & sys.modules.keys()
    assert not heavy, (words, heavy)
"""


def test_no_heavy_package_is_imported_before_parsing() -> None:
    commands = ["--help", "--version", "list", *(f"{verb} --help" for verb in VERBS)]
    ran = subprocess.run([sys.executable, "-c", SCRIPT, *commands], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("usage: ") == 1 + len(VERBS)
