from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from shoestring.cli.main import main

ROOT = Path(__file__).parents[1]
EPOCHS = "12"  # instead of the seconds of the page: enough for every step, and the same on any machine
_BLOCK = re.compile(r"^(?P<before>[^\n]*)\n```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: the line it stands on, its language, its text."""

    line: int
    language: str
    body: str


def blocks(text: str) -> list[Block]:
    """The python and console blocks of a Markdown page, but for those marked `<!-- not run: reason -->` just above."""
    found = []
    for match in _BLOCK.finditer("\n" + text):
        runs = not re.fullmatch(r"<!-- not run: .+ -->", match["before"].strip())
        if runs and match["language"] in ("python", "console", "sh"):
            line = text.count("\n", 0, match.start("body") - 1)
            found.append(Block(line, match["language"], match["body"]))
    return found


def commands(body: str) -> list[list[str]]:
    """The words of each `$ shoestring ...` line, with epochs for seconds."""
    lines = body.replace("\\\n", " ").splitlines()
    words = [
        shlex.split(line.removeprefix("$ shoestring "), comments=True)
        for line in lines
        if line.startswith("$ shoestring ")
    ]
    return [_counted(one) for one in words]


def _counted(words: list[str]) -> list[str]:
    text = [re.sub(r"^--time=.*", f"--epochs={EPOCHS}", word) for word in words]
    if "--time" in text:
        at = text.index("--time")
        text[at : at + 2] = ["--epochs", EPOCHS]
    return text


def execute(block: Block, page: str, names: dict[str, Any]) -> None:
    """Run a block as a reader would, who keeps the names that the blocks before it made."""
    if block.language == "python":
        source = "\n" * block.line + block.body
        exec(compile(source, page, "exec"), names)
    for words in commands(block.body) if block.language != "python" else ():
        assert main(words) == 0, f"{page}, line {block.line}: shoestring {shlex.join(words)}"


SAMPLE = """\
# A page

```console
$ shoestring list select   # what there is
forgetting ...
$ shoestring run digits --time 5m \\
    --examples 10
```

<!-- not run: there are no such photos -->
```console
$ shoestring run photos/
```

```yaml
data: digits
```

Then:
```python
import shoestring
raise RuntimeError("line 22")
```
"""


def test_blocks_are_found_with_their_lines() -> None:
    assert [(block.line, block.language) for block in blocks(SAMPLE)] == [(3, "console"), (20, "python")]


def test_commands_are_read_with_epochs_for_seconds() -> None:
    first, second = commands(blocks(SAMPLE)[0].body)
    assert first == ["list", "select"]
    assert second == ["run", "digits", "--epochs", EPOCHS, "--examples", "10"]


def test_a_block_that_fails_is_noticed() -> None:
    with pytest.raises(RuntimeError, match="line 22"):
        execute(blocks(SAMPLE)[1], "sample", {})
    with pytest.raises(AssertionError, match="line 3: shoestring frobnicate"):
        execute(Block(3, "console", "$ shoestring frobnicate\n"), "sample", {})


PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_do_what_they_say(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks, one after another, in one folder: later ones use what earlier ones left."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page.read_text(encoding="utf-8")):
        execute(block, page.name, names)


def test_the_readme_has_blocks_to_run() -> None:
    found = blocks(PAGES[0].read_text(encoding="utf-8"))
    assert {block.language for block in found} >= {"python", "console"}
