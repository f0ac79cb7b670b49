"""SVG of a figure of matplotlib's: text stays text, and colours follow the page that it stands on."""

import re
import warnings
from collections.abc import Callable
from io import StringIO
from typing import Any

from checks.report.plot import PALETTE

NAMESPACES = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" aria-hidden="true"'
STYLE = {
    "svg.fonttype": "none",
    "image.composite_image": False,
    "font.family": "sans-serif",
    "font.size": 10.0,
    "text.color": PALETTE["ink"],
    "axes.edgecolor": PALETTE["line"],
    "axes.linewidth": 0.8,
    "axes.labelcolor": PALETTE["soft"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": PALETTE["line"],
    "grid.linewidth": 0.5,
    "xtick.color": PALETTE["soft"],
    "ytick.color": PALETTE["soft"],
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "ytick.minor.size": 0.0,
    "axes.formatter.use_mathtext": False,
}


def svg(draw: Callable[[Any, float], object], prefix: str, width: float, height: float) -> str:
    """Draw into a figure and give it as one SVG element, to stand in a page of HTML or alone; sizes are in points.

    Every id in it begins with the prefix, so that several pictures can share a page.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    style: dict[Any, Any] = STYLE | {"svg.hashsalt": prefix}
    with mpl.rc_context(style), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # of a name; the browser has fonts of its own
        figure = Figure(figsize=(width / 72.0, height / 72.0))
        draw(figure, width)
        file = StringIO()
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = text.replace("*{stroke-linejoin: round; stroke-linecap: butt}", "")  # would rule the whole page
    text = re.sub(r'^<svg [^>]*?(viewBox="[^"]*")[^>]*>', rf"<svg \1 {NAMESPACES}>", text)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', text))
    text = re.sub(r' id="([^"]*)"', lambda found: f' id="{prefix}-{found[1]}"' if found[1] in used else "", text)
    text = re.sub(r'(?<=href="#)|(?<=url\(#)', f"{prefix}-", text)
    for colour, value in PALETTE.items():
        text = text.replace(value, f"var(--{colour}, {value})")
    return text
