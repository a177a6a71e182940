"""Make the reports that docs/gallery.md shows, and pictures of them.

    python docs/gallery.py --cifar10 DATA --photos FOLDER

DATA is any source of CIFAR-10, and FOLDER has photos in one folder per class. Reports whose data is not given, except
for digits, are left as they are. Runs and complete reports are written to build/gallery/, pictures to docs/gallery/.
Pictures need Chromium and the package playwright.
"""

from __future__ import annotations

import argparse
import io
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

ROOT = Path(__file__).parents[1]
RUNS, PICTURES = ROOT / "build" / "gallery", ROOT / "docs" / "gallery"
QUALITY = 62  # of the pictures, which are WebP
WIDE, PHONE, HEIGHT = 1280, 360, 900  # pixels
MAX_HEIGHT = 1700  # of the picture of a section


_RANDOM = ("--examples", "1000", "--select", "random")


@dataclass(frozen=True)
class Report:
    """A report: its name, the flags of its run, and the parts of the page that are pictured, as CSS selectors."""

    name: str
    flags: tuple[str, ...]
    parts: dict[str, str]


REPORTS = (
    Report(
        "digits",
        ("--examples", "300", "--time", "90s", "--macs", "0.5"),
        {"classes": "#classes", "mistakes": "#mistakes"},
    ),
    Report(
        "cifar10",
        (*_RANDOM, "--epochs", "20", "--model", "convnet", "--width", "0.25", "--macs", "0.5", "--tta", "none"),
        {"training": "#training"},
    ),
    Report(
        "photos",
        (*_RANDOM, "--epochs", "3", "--tune", "head", "--tta", "none"),
        {"mistakes": "#mistakes", "looks": "#looks ~ .looks"},
    ),
)


def make(report: Report, data: str) -> Path:
    """Run shoestring on the data; return the file of the report."""
    out = RUNS / report.name
    shutil.rmtree(out, ignore_errors=True)
    words = [sys.executable, "-m", "shoestring", "run", data, *report.flags, "--out", str(out)]
    subprocess.run(words, check=True)
    return out / "report" / "index.html"


def picture(browser: Any, page_file: Path, report: Report) -> None:
    """Take pictures of a report: its top on a wide screen and on a phone, in light and dark, and of parts of it."""
    for name, width, scheme in (("wide", WIDE, "light"), ("phone", PHONE, "dark")):
        page = browser.new_page(viewport={"width": width, "height": HEIGHT}, color_scheme=scheme)
        page.goto(page_file.as_uri())
        save(page.screenshot(), f"{report.name}-{name}")
        for part, selector in report.parts.items() if name == "wide" else ():
            save(page.locator(selector).first.screenshot(), f"{report.name}-{part}")
        page.close()


def save(screenshot: bytes, name: str) -> None:
    """Save a screenshot in a compressed format, cut off where it is very long."""
    image = Image.open(io.BytesIO(screenshot)).convert("RGB")
    image.crop((0, 0, image.width, min(image.height, MAX_HEIGHT))).save(PICTURES / f"{name}.webp", quality=QUALITY)


def main() -> None:
    """Make the reports whose data is given."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cifar10", metavar="DATA")
    parser.add_argument("--photos", metavar="FOLDER")
    parser.add_argument("--only", choices=[report.name for report in REPORTS], help="make this report alone")
    parser.add_argument("--pictures-only", action="store_true", help="take pictures of reports that exist already")
    args = parser.parse_args()
    from playwright.sync_api import sync_playwright

    data = {"digits": "digits", "cifar10": args.cifar10, "photos": args.photos}
    PICTURES.mkdir(exist_ok=True)
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for report in REPORTS:
            if args.only not in (None, report.name):
                continue
            source, page_file = data[report.name], RUNS / report.name / "report" / "index.html"
            if source and not args.pictures_only:
                page_file = make(report, source)
            if page_file.exists():
                picture(browser, page_file, report)
        browser.close()
    size = sum(file.stat().st_size for file in PICTURES.iterdir())
    print(f"{size / 1e6:.2f} MB of pictures")


if __name__ == "__main__":
    main()
