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
    sources = [word for line in found["build"].splitlines() if line.startswith("COPY ") for word in line.split()[1:-1]]
    allowed = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sources and all((ROOT / source).exists() and source in allowed for source in sources)
    assert (ROOT / "containers" / "install.sh").exists() and "containers" in allowed


def test_the_install_script_refuses_what_it_does_not_know():
    done = subprocess.run(
        ["sh", str(ROOT / "containers" / "install.sh"), "deploy", "x"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stderr.startswith("usage: ")
