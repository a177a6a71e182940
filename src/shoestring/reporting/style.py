"""The look of charts: colors that color-blind readers can tell apart, one scale of font sizes, and SVG for a page."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING, Any

from shoestring.escaping import printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, MUTED, GRID, SURFACE = "#1f2328", "#57606b", "#d5dae0", "#fdfdfc"
SERIES = ("#0072b2", "#c8541a", "#007d60", "#8a4f9e", "#8a6d00", "#5b6b7b")  # after Okabe and Ito 2008
MARKERS = ("o", "s", "^", "D", "v", "P")  # so that series differ by more than their color
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (1, 1)))
_VARIABLES = {INK: "ink", MUTED: "muted", GRID: "grid", SURFACE: "surface"}
_VARIABLES |= {color: f"series-{number}" for number, color in enumerate(SERIES, 1)}
_WIDTH, _FONT = 4.6, 11.0  # inches; points
MAX_LABEL = 24  # characters
_ROW = 0.26  # inches of height per row of a chart with one row per name
_ENLARGED = 1.4  # width on a wide screen in pixels, over that in points

_STYLE: dict[Any, Any] = {
    "font.size": _FONT,
    "axes.titlesize": _FONT + 1,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.titlecolor": INK,
    "axes.labelsize": _FONT,
    "axes.labelcolor": MUTED,
    "axes.edgecolor": GRID,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "text.color": INK,
    "legend.frameon": False,
    "legend.fontsize": _FONT - 1,
    "lines.linewidth": 1.6,
    "svg.fonttype": "none",
    "svg.hashsalt": "shoestring",
    "text.parse_math": False,  # class names may hold dollar signs
}


@contextmanager
def chart_style() -> Iterator[None]:
    """Draw in the style of the report inside the block."""
    import matplotlib

    interactive = matplotlib.is_interactive()
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"Glyph .* missing from font")  # the page's fonts have more
        yield
        interactive = matplotlib.is_interactive()
    matplotlib.interactive(interactive)  # notebooks switch it on when the first figure is made


def new_axes(axes: Axes | None = None, *, height: float = 3.0) -> Axes:
    """Return the axes, or new ones in a figure of their own for notebooks; `height` is in inches."""
    if axes is not None:
        return axes
    from matplotlib import pyplot

    return pyplot.subplots(figsize=(_WIDTH, height), layout="constrained")[1]


def page_axes(height: float = 3.0) -> Axes:
    """Return axes for a page, in a figure that pyplot does not keep; `height` is in inches."""
    from matplotlib.figure import Figure

    with chart_style():
        return Figure(figsize=(_WIDTH, height), layout="constrained").subplots()


def row_chart_height(rows: int) -> float:
    """Return the height in inches of a chart with so many named rows."""
    return 0.9 + _ROW * rows


def name_rows(axes: Axes, names: Sequence[str]) -> None:
    """Name the rows of a chart, the first at the top."""
    axes.set_yticks(range(len(names)), short_names(names))
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(False, axis="y")
    axes.tick_params(axis="y", length=0)


def short_name(name: str) -> str:
    """Return a name as charts show it: printable, and cut off if it is long."""
    text = printable(name)
    return text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - 1]}…"


def short_names(names: Sequence[str]) -> list[str]:
    """Return names as charts show them together: those that would look alike are cut off in the middle instead."""
    cut, half = [short_name(name) for name in names], MAX_LABEL // 2
    if len(set(cut)) == len(set(names)):
        return cut
    texts = [printable(name) for name in names]
    return [text if len(text) <= MAX_LABEL else f"{text[: MAX_LABEL - half - 1]}…{text[-half:]}" for text in texts]


def to_svg(axes: Axes, *, name: str, description: str) -> str:
    """Return the figure of the axes as an SVG element for an HTML page.

    `description` is its alternative text. Colors are variables of the page, so that they follow its theme; the font is
    that of the page; ids start with `name`, which is unique on the page.
    """
    out = io.StringIO()
    figure: Any = axes.figure
    with chart_style():
        figure.savefig(out, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->\s*", "", text, flags=re.DOTALL)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(url\(|href=")#', rf"\g<1>#{name}-", text)
    text = re.sub(r"font-family: [^;\"]*", "font-family: var(--font)", text)
    for color, variable in _VARIABLES.items():
        text = text.replace(color, f"var(--{variable})")
    size = re.search(r'viewBox="0 0 ([\d.]+)', text)
    assert size is not None
    head = f'<svg role="img" aria-label="{escape(printable(description))}"'
    head += f' style="max-width: {_ENLARGED * float(size[1]):.0f}px"'
    return re.sub(
        r"<svg(.*?)>", lambda match: head + re.sub(r' (width|height)="[^"]*"', "", match[1]) + ">", text, count=1
    )


def warm_up() -> None:
    """Import matplotlib and load its fonts by drawing an empty chart, so that the time of others can be measured."""
    to_svg(page_axes(), name="empty", description="")
