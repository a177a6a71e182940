"""The pages of the server: each one file, with its style and its script inside, that loads nothing from elsewhere."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache
from pathlib import Path

_TEMPLATES = Path(__file__).parent / "templates"
_REPORT_STYLE = Path(__file__).parents[1] / "reporting" / "templates" / "style.css"


@cache
def front_page() -> str:
    """Return the page on which people drop pictures."""
    return _page("front")


@cache
def docs_page() -> str:
    """Return the page that shows the OpenAPI description."""
    return _page("docs")


def _page(name: str) -> str:
    style = _REPORT_STYLE.read_text(encoding="utf-8") + (_TEMPLATES / "serving.css").read_text(encoding="utf-8")
    page = (_TEMPLATES / f"{name}.html").read_text(encoding="utf-8")
    script = (_TEMPLATES / f"{name}.js").read_text(encoding="utf-8")
    return page.replace("/* style */", style).replace("/* script */", script)


@cache
def page_headers(page: str) -> dict[str, str]:
    """Return the headers of a page: browsers run its own script only, and connect to this server only."""
    styles, scripts = (_hashes(page, tag) for tag in ("style", "script"))
    policy = (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; img-src blob: data:; connect-src 'self'; "
        "form-action 'none'; base-uri 'none'; frame-ancestors 'none'"
    )
    return {
        "content-security-policy": policy,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "permissions-policy": "camera=(self), microphone=(), geolocation=()",
        "cache-control": "no-cache",
    }


def _hashes(page: str, tag: str) -> str:
    """Return the hashes of all elements of this kind, as a content security policy lists them."""
    contents = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
    digests = (hashlib.sha256(content.encode()).digest() for content in contents)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
