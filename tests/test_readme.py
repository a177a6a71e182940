from __future__ import annotations

import importlib.util
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sklearn.datasets
from PIL import Image

from shoestring.cli.main import main
from shoestring.config import registry
from shoestring.config.recipe import Recipe, Train
from shoestring.config.serialize import as_dict

ROOT = Path(__file__).parents[1]
EPOCHS = "12"  # instead of the seconds of the page: enough for every step, and the same on any machine
EPOCHS_OF_PHOTOS = "18"  # of which an epoch is two steps
_BLOCK = re.compile(r"^(?P<before>[^\n]*)\n```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block of a page: its line number, language and text."""

    line: int
    language: str
    body: str


def blocks(text: str) -> list[Block]:
    """The Python and console blocks of a Markdown page, except those marked `<!-- not run: reason -->` just above."""
    result = []
    for match in _BLOCK.finditer("\n" + text):
        runs = not re.fullmatch(r"<!-- not run: .+ -->", match["before"].strip())
        if runs and match["language"] in ("python", "console", "sh"):
            line = text.count("\n", 0, match.start("body") - 1)
            result.append(Block(line, match["language"], match["body"]))
    return result


def commands(body: str, epochs: str = EPOCHS) -> list[list[str]]:
    """The words of each `$ shoestring ...` line, with epochs for seconds."""
    lines = body.replace("\\\n", " ").splitlines()
    words = [
        shlex.split(line.removeprefix("$ shoestring "), comments=True)
        for line in lines
        if line.startswith("$ shoestring ")
    ]
    return [_counted(line, epochs) for line in words]


def _counted(words: list[str], epochs: str) -> list[str]:
    text = [re.sub(r"^--time=.*", f"--epochs={epochs}", word) for word in words]
    if "--time" in text:
        at = text.index("--time")
        text[at : at + 2] = ["--epochs", epochs]
    return text


def expanded(words: list[str]) -> list[str]:
    """The words with patterns replaced by the files that match, as a shell does."""
    return [name for word in words for name in (sorted(map(str, Path().glob(word))) if "*" in word else [word])]


def execute(block: Block, page: str, names: dict[str, Any]) -> None:
    """Run a block as a reader would; Python blocks see the names that earlier ones defined."""
    if block.language == "python":
        source = "\n" * block.line + block.body
        exec(compile(source, page, "exec"), names)
    epochs = EPOCHS_OF_PHOTOS if page == "tutorial.md" else EPOCHS
    for words in commands(block.body, epochs) if block.language != "python" else ():
        assert main(expanded(words)) == 0, f"{page}, line {block.line}: shoestring {shlex.join(words)}"


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


@pytest.fixture
def third_of_digits(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Leave out two thirds of the data set digits."""
    everything = sklearn.datasets.load_digits
    monkeypatch.setattr(sklearn.datasets, "load_digits", lambda **how: [part[:600] for part in everything(**how)])
    monkeypatch.setenv("SHOESTRING_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_do_what_they_say(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Execute all blocks of a page in order, in one folder: later ones use the results of earlier ones."""
    if page.name != "experiments.md":  # whose processes load all digits
        request.getfixturevalue("third_of_digits")
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    if page.name == "tutorial.md":
        make_photos(tmp_path)
    names: dict[str, Any] = {"__name__": "__main__"}
    for block in blocks(page.read_text(encoding="utf-8")):
        execute(block, page.name, names)


def make_photos(folder: Path) -> None:
    """Thirty photos in each of three classes, each with a bright stripe at an angle of its own, and three new ones."""
    rng = np.random.default_rng(0)
    down, right = np.mgrid[-1:1:16j, -1:1:16j]
    for angle, name in enumerate(("cat", "dog", "rabbit")):
        across = np.cos(angle) * down + np.sin(angle) * right
        for number in range(31):
            stripe = 160.0 * (abs(across - rng.uniform(-0.5, 0.5)) < 0.3)
            pixels = stripe[:, :, None] + rng.uniform(0, 90, (16, 16, 3))
            file = folder / "photos" / name / f"IMG_{number:04}.jpg" if number else folder / "new" / f"{name}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(pixels.astype(np.uint8)).save(file)


def test_the_pages_have_blocks_to_run() -> None:
    languages = {block.language for page in PAGES for block in blocks(page.read_text(encoding="utf-8"))}
    assert languages >= {"python", "console"}
    assert len(blocks((ROOT / "docs" / "tutorial.md").read_text(encoding="utf-8"))) >= 7


@pytest.fixture(scope="module")
def generated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the pages that docs/generate.py makes from the code."""
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    folder = tmp_path_factory.mktemp("docs")
    module.generate(folder)
    return folder


@pytest.mark.parametrize("kind", registry.PROTOCOLS)
def test_every_method_has_a_card(generated: Path, kind: str) -> None:
    overview = (generated / "methods" / "index.md").read_text(encoding="utf-8")
    for name in registry.names(kind):
        card = (generated / "methods" / kind / f"{name}.md").read_text(encoding="utf-8")
        assert f"def {name}(" in card
        assert all(f"`{option}`" in card for option in registry.options(kind, name))
        assert f"({kind}/{name}.md)" in overview


def test_the_reference_has_every_field_of_a_recipe(generated: Path) -> None:
    text = (generated / "reference" / "recipe.md").read_text(encoding="utf-8")
    for name in (*as_dict(Recipe()), *Train.__dataclass_fields__):
        assert f"| `{name}` |" in text or f"## Section `{name}`" in text
    assert "--learning-rate X" in (generated / "reference" / "commands.md").read_text(encoding="utf-8")


def test_the_map_names_what_there_is() -> None:
    source, text = ROOT / "src" / "shoestring", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = re.findall(r"`([a-z_.]+(?:/[a-z_]+)*(?:/|\.py))`", text)
    assert len(paths) > 20
    assert not [path for path in paths if not ((source / path).exists() or (ROOT / path).exists())]
    packages = {file.parent.name + "/" for file in source.glob("*/__init__.py")}
    assert packages <= set(paths)
