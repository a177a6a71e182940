"""Pages in headless Chromium: nothing overflows on a phone, is loaded or logged, and axe-core finds no fault."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiment_data import RANGES, experiment_result
from run_data import comparison_of_runs, label_run, run_data, ticket_result, unfinished_run
from shoestring.reporting.comparison import comparison_page
from shoestring.reporting.experiment import experiment_page
from shoestring.reporting.html import run_page
from shoestring.reporting.ticket_page import ticket_chart, ticket_page

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")

PAGES: dict[str, Callable[[], str]] = {
    "run": lambda: run_page(run_data()),
    "labels": lambda: run_page(label_run()),
    "unfinished": lambda: run_page(unfinished_run()),
    "comparison": lambda: comparison_page(comparison_of_runs()),
    "tickets": lambda: ticket_page(ticket_result(), ticket_chart(ticket_result())),
    "experiment": lambda: experiment_page(experiment_result(against="macs", seeds=2)),
    "search": lambda: experiment_page(experiment_result(RANGES, search="random", trials=40)),
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module", params=PAGES)
def page_file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("pages") / f"{request.param}.html"
    file.write_text(PAGES[request.param](), encoding="utf-8")
    return file


def serious(page: Any) -> list[str]:
    """The serious and critical findings of axe-core on an open page."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    violations = axe.Axe().run(page).response["violations"]
    return [
        f"{one['id']}: {node['html'][:150]}: {node['failureSummary']}"
        for one in violations
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [360, 1280])
def test_pages(browser, page_file, scheme, width):
    messages, requests = [], []
    page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page.on("console", lambda message: messages.append(message.text))
    page.on("pageerror", lambda error: messages.append(str(error)))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(page_file.as_uri())
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate("for (const one of document.querySelectorAll('details')) one.open = true")
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "with all details open"
    assert messages == []
    assert {url for url in requests if not url.startswith("data:")} == {page_file.as_uri()}
    assert serious(page) == []
    page.close()


def test_cells_of_the_confusion_matrix_lead_to_their_images(browser, tmp_path):
    file = tmp_path / "index.html"
    file.write_text(run_page(run_data()), encoding="utf-8")
    page = browser.new_page(viewport={"width": 360, "height": 800})
    page.goto(file.as_uri())
    page.click("a[href='#confusion-0-1']")
    assert page.evaluate("document.querySelector(':target').id") == "confusion-0-1"
    page.close()


def test_faults_are_found(browser, tmp_path):
    file = tmp_path / "index.html"
    text = run_page(replace(run_data(), unfinished=""))
    for good, bad in ((" alt=", " data-alt="), (" title=", " data-title="), ("--muted: #57606b", "--muted: #cfd3d8")):
        text = text.replace(good, bad)
    file.write_text(text, encoding="utf-8")
    page = browser.new_page(viewport={"width": 1280, "height": 800}, color_scheme="light")
    page.goto(file.as_uri())
    found = {finding.partition(":")[0] for finding in serious(page)}
    assert {"image-alt", "color-contrast"} <= found
    page.close()
