from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from shoestring.cli.main import VERBS, main

FILE = Path(__file__).parent / "flags.txt"


def flags(capsys: pytest.CaptureFixture[str], verb: str) -> list[str]:
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    return sorted(set(re.findall(r"^ +(?:-h, )?(--[a-z0-9-]+)", capsys.readouterr().out, re.MULTILINE)))


def test_flags_of_every_verb_are_frozen(capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    """Changed flags break scripts: to change them, update flags.txt by SHOESTRING_FREEZE=1 pytest tests/cli."""
    monkeypatch.setenv("COLUMNS", "200")
    current = "".join(f"{verb} {flag}\n" for verb in VERBS for flag in flags(capsys, verb))
    if os.environ.get("SHOESTRING_FREEZE"):
        FILE.write_text(current)
    assert current == FILE.read_text(), "if this is intended: SHOESTRING_FREEZE=1 pytest tests/cli/test_frozen.py"
