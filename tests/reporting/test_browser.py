"""Reports in headless Chromium: nothing overflows on a phone, and nothing is loaded or logged."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from run_data import run_data
from shoestring.reporting.html import run_page

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_in_a_browser(tmp_path: Path, scheme: str) -> None:
    page_file = tmp_path / "index.html"
    page_file.write_text(run_page(run_data()), encoding="utf-8")
    messages, requests = [], []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width in (360, 1280):
            page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
            page.on("console", lambda message: messages.append(message.text))
            page.on("pageerror", lambda error: messages.append(str(error)))
            page.on("request", lambda request: requests.append(request.url))
            page.goto(page_file.as_uri())
            assert page.evaluate("document.documentElement.scrollWidth") <= width
            page.click("a[href='#confusion-0-1']")
            assert page.evaluate("document.querySelector(':target').id") == "confusion-0-1"
        browser.close()
    assert messages == []
    assert {url for url in requests if not url.startswith("data:")} == {page_file.as_uri()}
