"""Notebooks run from top to bottom, in a folder with the runs that they read."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from shoestring.cli.main import main

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))
NET = ("--model", "convnet", "--width", "0.25", "--macs", "0.5", "--select", "random", "--batch-size", "16", "--quiet")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two finished runs."""
    folder = tmp_path_factory.mktemp("notebooks")
    for name, examples in (("first", "300"), ("second", "100")):
        words = ("run", "digits", "--examples", examples, "--epochs", "6", *NET)
        assert main([*words, "--out", str(folder / "runs" / name)]) == 0
    return folder


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
@pytest.mark.parametrize("file", NOTEBOOKS, ids=lambda file: file.stem)
def test_notebooks_run(file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    source = str(Path(__file__).parents[1] / "src")
    monkeypatch.setenv("PYTHONPATH", source)
    monkeypatch.setenv("IPYTHONDIR", str(folder / "ipython"))
    notebook = nbformat.read(file, as_version=4)
    notebook.metadata.kernelspec = {"name": "python3", "display_name": sys.version}
    client = nbclient.NotebookClient(notebook, timeout=120, resources={"metadata": {"path": str(folder)}})
    asyncio.run(client.async_execute())
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    tables = [output for output in outputs if "<table>" in output.get("data", {}).get("text/html", "")]
    assert len(pictures) == 9 and len(tables) == 2
