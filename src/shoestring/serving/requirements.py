"""The packages of the extra `serve`: `python -m shoestring.serving.requirements` prints them for pip.

A machine that only serves needs none of the packages that training needs, PyTorch above all:

    pip install --no-deps shoestring
    python -m shoestring.serving.requirements > serve.txt && pip install -r serve.txt
"""

from __future__ import annotations

import re
from importlib.metadata import requires

from shoestring.runtime import extras

_MODULES = ("fastapi", "httptools", "onnxruntime", "prometheus_client", "python_multipart", "uvicorn")


def check_installed() -> None:
    """Raise `UserError`, with the command that installs it, if a package of the extra is missing."""
    extras.check_installed(_MODULES, what="serving", extra="serve")


def requirements() -> list[str]:
    """Return the requirements of the extra as pip reads them, from the metadata of the installed package."""
    lines = []
    for line in requires("shoestring") or []:
        requirement, _, marker = (part.strip() for part in line.partition(";"))
        if re.search(r"""\bextra\s*==\s*['"]serve['"]""", marker):
            rest = re.sub(r"""(\s*and\s*)?\bextra\s*==\s*['"]serve['"]""", "", marker).strip().strip("()")
            lines.append(f"{requirement}; {rest}" if rest else requirement)
    return lines


if __name__ == "__main__":
    print("\n".join(requirements()))
