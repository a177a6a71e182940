"""A chart on a page: an SVG element with its text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from markupsafe import Markup

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True)
class Chart:
    """An SVG element, and the text below it, which is also its alternative text."""

    svg: Markup
    caption: str


def draw(name: str, caption: str, plot: Callable[..., Axes], *args: Any, height: float = 3.0, **kwargs: Any) -> Chart:
    """Return a chart of a function of `reporting.charts`; `name` is unique on the page, `height` in inches."""
    from shoestring.reporting.style import page_axes, to_svg

    axes = plot(*args, **kwargs, axes=page_axes(height))
    return Chart(Markup(to_svg(axes, name=f"chart-{name}", description=caption)), caption)
