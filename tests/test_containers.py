"""The container files: linted, valid, and consistent with the package. Nothing is built here."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
COMPOSE = ROOT / "compose.yaml"


def tool(name: str) -> str:
    """Return the path of a development tool."""
    found = shutil.which(name, path=os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def test_the_dockerfile_has_no_lint():
    done = subprocess.run([tool("hadolint"), str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_compose_file_follows_its_schema():
    command = [tool("check-jsonschema"), "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_services_have_what_they_promise():
    services = yaml.safe_load(COMPOSE.read_text())["services"]
    serve = services["serve"]
    assert "profiles" not in serve and serve["read_only"] and serve["restart"] == "unless-stopped"
    assert serve["healthcheck"]["test"] and serve["logging"]["options"]["max-size"]
    assert set(serve["deploy"]["resources"]["limits"]) == {"cpus", "memory", "pids"}
    assert {name: service["profiles"] for name, service in services.items() if name != "serve"} == {
        "train": ["train"],
        "jupyter": ["jupyter"],
    }
    for name, service in services.items():
        assert service["build"]["target"] == name
        assert service["cap_drop"] == ["ALL"] and service["security_opt"] == ["no-new-privileges:true"]
        assert all(port.startswith(("127.0.0.1:", "${LISTEN:-127.0.0.1")) for port in service.get("ports", ()))


def stages() -> dict[str, str]:
    """Return the text of each stage of the Dockerfile."""
    parts = ("\n" + (ROOT / "Dockerfile").read_text()).split("\nFROM ")[1:]
    return {part.splitlines()[0].split(" AS ")[1]: part for part in parts}


def test_images_run_without_root_and_copy_only_what_is_there():
    found = stages()
    assert set(found) == {"base", "build", "serve", "train", "jupyter"}
    for name in ("serve", "train", "jupyter"):
        users = [line.split()[1] for line in found[name].splitlines() if line.startswith("USER ")]
        assert users[-1] == "10001"
        assert f"install.sh {name} " in found[name]
    assert "HEALTHCHECK" in found["serve"]
    lines = [line.split() for text in found.values() for line in text.splitlines()]
    sources = [Path(word) for line in lines if line[:1] == ["COPY"] for word in line[1:-1]]
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert len(sources) > 5
    assert all((ROOT / source).exists() for source in sources)
    assert all(source.parts[0] in allowed or source.as_posix() in allowed for source in sources)


def test_jupyter_starts_with_the_notebooks_that_are_missing(tmp_path):
    jupyter = tmp_path / "jupyter"
    jupyter.write_text('#!/bin/sh\necho "$@"\n')
    jupyter.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    path = os.pathsep.join([str(tmp_path), os.environ["PATH"]])
    environment = {**os.environ, "PATH": path, "NOTEBOOKS": str(ROOT / "notebooks")}
    command = ["sh", str(ROOT / "containers" / "jupyter.sh"), "--port=9000"]
    for content in (None, "changed"):
        if content is not None:
            (work / "results.ipynb").write_text(content)
        done = subprocess.run(command, cwd=work, env=environment, capture_output=True, text=True, check=True)
        assert done.stdout.startswith("lab ") and done.stdout.endswith("--port=9000\n") and not done.stderr
        expected = (ROOT / "notebooks" / "results.ipynb").read_text() if content is None else content
        assert (work / "results.ipynb").read_text() == expected


def test_the_install_script_refuses_what_it_does_not_know():
    done = subprocess.run(
        ["sh", str(ROOT / "containers" / "install.sh"), "deploy", "x"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stderr.startswith("usage: ")
