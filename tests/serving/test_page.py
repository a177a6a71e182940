"""The pages in headless Chromium, as a person uses them."""

from __future__ import annotations

import base64
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from color_networks import picture, write_network
from served import serving

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DROP = """([name, type, content]) => {
    const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0)), transfer = new DataTransfer();
    transfer.items.add(new File([bytes], name, { type }));
    document.getElementById("drop").dispatchEvent(new DragEvent("drop", { dataTransfer: transfer, bubbles: true }));
}"""


def test_pages_allow_their_own_script_only(client) -> None:
    for path in ("/", "/docs"):
        response = client.get(path)
        policy = response.headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy and "connect-src 'self'" in policy
        assert "http://" not in response.text and "https://" not in response.text
        assert "/* s" not in response.text  # what the templates have in place of style and script


@contextmanager
def opened(url: str, *, width: int = 1280, scheme: str = "light") -> Iterator:
    """Open a page, which must not log anything, nor ask another server."""
    sync_api = pytest.importorskip("playwright.sync_api")
    messages: list[str] = []
    own = (url.rpartition("/")[0], "blob:", "data:")
    options = ["--no-sandbox", "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=options)
        page = browser.new_page(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page.on("console", lambda message: messages.append(message.text))
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("request", lambda request: request.url.startswith(own) or messages.append(request.url))
        page.goto(url)
        yield page
        assert page.evaluate("document.documentElement.scrollWidth") <= width
        browser.close()
    assert [text for text in messages if "status of 4" not in text] == []


@pytest.fixture(scope="module")
def server_at(network: Path) -> Iterator[Callable[..., str]]:
    with ExitStack() as stack:

        def start(*words: str) -> str:
            server = stack.enter_context(serving(*(words or (str(network),)), "--quiet"))
            return f"http://{server.host}:{server.port}/"

        yield start


def until(page, condition: str) -> None:
    """Wait for a condition in JavaScript, which the policy of the page does not let the page itself evaluate."""
    for _ in range(300):
        if page.evaluate(condition):
            return
        page.wait_for_timeout(50)
    raise AssertionError(condition)


def drop(page, name: str, kind: str, content: bytes) -> None:
    page.evaluate(DROP, [name, kind, base64.b64encode(content).decode()])


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_dropped_pictures_show_their_class_and_other_files_a_message(server_at) -> None:
    url = server_at()
    for width, scheme in ((360, "dark"), (1280, "light")):
        with opened(url, width=width, scheme=scheme) as page:
            page.wait_for_selector("#about:has-text('red, green, blue')")
            drop(page, "sky.png", "image/png", picture("blue", size=(300, 200)))
            page.wait_for_selector(".result h2:has-text('blue')")
            first = page.locator(".result").first
            assert "sky.png" in first.inner_text() and first.locator(".bars dt").count() == 3
            widths = [bar.bounding_box()["width"] for bar in first.locator(".bar span").all()]
            assert widths[0] > 10 * max(widths[1:])
            assert first.locator(".bar").first.bounding_box()["width"] >= 60  # wide enough to compare
            drop(page, "notes.txt", "text/plain", b"hello, <b>world</b>")
            page.wait_for_selector(".result.refused")
            assert "It is not an image; expected a file in one of the formats" in page.inner_text(".result.refused")
            assert page.locator(".result").count() == 2


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_files_are_chosen_and_the_camera_takes_pictures(server_at, tmp_path: Path) -> None:
    files = [tmp_path / f"{color}.png" for color in ("red", "green")]
    for file in files:
        file.write_bytes(picture(file.stem))
    with opened(server_at()) as page:
        page.wait_for_selector("#about:has-text('3 classes')")
        page.set_input_files("#files", [str(file) for file in files])
        for color in ("red", "green"):
            page.wait_for_selector(f".result h2:has-text('{color}')")
        page.click("#camera")
        until(page, "document.getElementById('video').videoWidth > 0")
        page.click("#shoot")
        page.wait_for_selector(".result p:has-text('camera')")
        until(page, "document.querySelectorAll('.bars').length === 3")
        page.click("#stop")
        assert page.is_hidden("#viewfinder")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_page_asks_for_the_key_and_offers_all_models(server_at, network: Path, tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("a-secret-key")
    other = write_network(tmp_path / "labels.onnx", task="multi-label", classes=("<i>", "b&b", "blau"))
    with opened(server_at(str(network), str(other), "--api-key-file", str(key))) as page:
        page.wait_for_selector("#key-form:visible")
        page.fill("#key", "wrong-key")
        page.click("#key-form button")
        page.wait_for_selector("#about:has-text('wrong')")
        page.fill("#key", "a-secret-key")
        page.click("#key-form button")
        page.wait_for_selector("#choice:visible")
        assert page.is_hidden("#key-form")
        page.select_option("#model", "labels")
        assert "<i>, b&b, blau" in page.inner_text("#about")
        drop(page, "a.png", "image/png", picture("red"))
        page.wait_for_selector(".result h2:has-text('<i>')")


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_the_description_is_shown_without_other_servers(server_at) -> None:
    url = server_at()
    with opened(f"{url}docs", width=360) as page:
        page.wait_for_selector("code:has-text('POST /predict')")
        assert f"{url}predict" in page.inner_text("#paths")
