"""Plot: one check as a heat map, both gradients held against each other entry by entry; needs matplotlib."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from checks.measure.layout import Array
from checks.report.findings import Findings, TensorReport
from checks.verdict import Verdict

#: Colours that stay apart for colour-blind eyes (after Okabe and Ito), with contrast on white.
PALETTE = {
    "ink": "#1b2430",
    "soft": "#566171",
    "line": "#cfd6de",
    "blue": "#0f5f9e",
    "warm": "#a85a00",
    "fail": "#b93a0c",
    "open": "#8a6a00",
}
SHADES = {"within": (0.16, 0.47, 0.76), "beyond": (0.88, 0.31, 0.10), "aside": (0.87, 0.63, 0.0), "unknown": (0.5,) * 3}
LOWEST = -16.0  # log10 of the faintest shade: below the last place of a float64
CELLS = 160  # a side, beyond which the largest of several entries is shown as one
TENSORS = 60  # that are drawn; the table of the report has all
LETTER, LINE = 6.2, 18.0  # width and height of text of size 10, in points
SCALE, BROAD = 230.0, 600.0  # width of the scale, and of a figure with room beside it, in points
INDENT = 16.0  # of the scale
LABEL = 26  # letters of a label that are shown


@dataclass(frozen=True)
class Box:
    """Where something is drawn, in points from the left and from the top."""

    left: float
    top: float
    width: float
    height: float


def plot(report: Findings, figure: Any = None, *, width: float = 720.0) -> Any:
    """Draw every tensor as a heat map of the differences of its entries.

    A cell is ``|gradient - numerical|`` in units of the root mean square of both, so that the root mean square
    of a tensor's cells is the tensor's difference. After ``coverage="directions"`` a tensor has one number, and one
    colour. The figure, a new one of pyplot's by default, gets its size, ``width`` in points. In the axes that come back
    each tensor is an image, in their order, and the scale one more; their units are points.
    """
    keys = _keys(report)
    tensors = list(report.tensors.values())[:TENSORS]
    boxes, bottom = _arranged(tensors, width)
    height = bottom + (2.6 if width > BROAD or not keys else 3.8) * LINE
    figure = new_figure() if figure is None else figure
    figure.set_size_inches(width / 72.0, height / 72.0)
    axes = figure.add_axes((0.0, 0.0, 1.0, 1.0), xlim=(0.0, width), ylim=(height, 0.0), autoscale_on=False)
    axes.set_axis_off()
    for tensor, box in zip(tensors, boxes, strict=True):
        _draw(axes, tensor, box, report)
    _scale(axes, report.threshold, height - 1.5 * LINE)
    for number, (words, colour) in enumerate(keys):
        left, low = (SCALE + 56.0, height - 1.5 * LINE) if width > BROAD else (INDENT, height - 2.9 * LINE)
        left += 120.0 * number
        _framed(axes, Box(left, low, 9.0, 9.0), "line", 0.8, colour)
        axes.text(left + 14.0, low + 4.5, words, fontsize=9, color=PALETTE["soft"], va="center_baseline")
    return axes


def new_figure() -> Any:
    """Give an empty figure of pyplot's, or say that matplotlib is missing."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "plot draws with matplotlib. Expected it installed, as by pip install 'backproof[report]'. "
            f"Received {error}."
        ) from error
    return pyplot.figure()


def cells(tensor: TensorReport) -> Array:
    """Give the differences of a tensor's entries as a matrix: NaN where nothing was measured or set aside.

    Without entries, as after a check along a direction, it has one cell, the tensor's difference.
    """
    if tensor.entries is None or not tensor.size:
        return np.array([[tensor.difference]])
    kept = tensor.entries.known & np.isfinite(tensor.entries.gradient)
    gradient, numerical = (np.where(kept, a, 0.0) for a in (tensor.entries.gradient, tensor.entries.numerical))
    typical = (np.linalg.norm(gradient) + np.linalg.norm(numerical)) / np.sqrt(max(1, kept.sum()))
    errors = np.abs(gradient - numerical) / (typical or 1.0)
    return np.where(kept, errors, np.nan).reshape(_sides(tensor))


def _sides(tensor: TensorReport) -> tuple[int, int]:
    rows = tensor.shape[0] if tensor.shape else 1
    return rows, tensor.size // rows if rows else 0


def _arranged(tensors: list[TensorReport], width: float) -> tuple[list[Box], float]:
    """Place the tensors from left to right in as many lines as it takes, all cells of one size if they can."""
    sides = [_sides(tensor) if tensor.size else (1, 1) for tensor in tensors]
    cell = min([14.0, *((width - 2.0) / columns for _, columns in sides), *(220.0 / rows for rows, _ in sides)])
    boxes: list[Box] = []
    left, top, deepest = 1.0, LINE, 0.0
    for tensor, (rows, columns) in zip(tensors, sides, strict=True):
        wide, high = max(12.0, cell * columns), max(12.0, cell * rows)
        taken = max(wide, LETTER * len(_label(tensor)))
        if left > 1.0 and left + taken > width:
            left, top, deepest = 1.0, top + deepest + 1.6 * LINE, 0.0
        boxes.append(Box(left, top, wide, high))
        left, deepest = left + taken + 14.0, max(deepest, high)
    return boxes, top + deepest


def _label(tensor: TensorReport) -> str:
    name = shortened(tensor.name)
    return name if tensor.verdict is Verdict.PASS else f"{name} {tensor.verdict.value}"


def shortened(name: str) -> str:
    """Give a name of at most `LABEL` letters, control characters aside."""
    name = "".join(letter for letter in name if letter.isprintable())
    return name if len(name) <= LABEL else f"{name[: LABEL - 1]}…"


def _draw(axes: Any, tensor: TensorReport, box: Box, report: Findings) -> None:
    first = bool(report.culprits) and tensor is report.culprits[0]
    colour = {Verdict.FAIL: "fail", Verdict.UNDECIDED: "open", Verdict.PASS: "ink"}[tensor.verdict]
    _image(axes, box, _shades(tensor, report.threshold))
    _framed(axes, box, "fail" if first else "line", 2.0 if first else 0.8)
    words = {"fontsize": 10, "color": PALETTE[colour], "parse_math": False}
    axes.text(box.left, box.top - 5.0, _label(tensor), **words)
    if tensor.verdict is Verdict.FAIL and tensor.worst_index and tensor.size:
        rows, columns = _sides(tensor)
        row, column = np.unravel_index(np.ravel_multi_index(tensor.worst_index, tensor.shape), (rows, columns))
        ring = {"marker": "o", "markersize": 9.0, "markerfacecolor": "none", "markeredgecolor": PALETTE["ink"]}
        at = box.left + box.width * (column + 0.5) / columns
        axes.plot([at], [box.top + box.height * (row + 0.5) / rows], markeredgewidth=1.6, **ring)


def _image(axes: Any, box: Box, image: Array) -> None:
    edges = (box.left, box.left + box.width, box.top + box.height, box.top)
    axes.imshow(image, aspect="auto", interpolation="none", extent=edges)


def _framed(axes: Any, box: Box, colour: str, width: float, fill: Any = "none") -> None:
    left, right, top, bottom = box.left, box.left + box.width, box.top, box.top + box.height
    corners = ([left, right, right, left], [top, top, bottom, bottom])
    axes.fill(*corners, facecolor=fill, edgecolor=PALETTE[colour], linewidth=width)


def _shades(tensor: TensorReport, threshold: float) -> Array:
    """Colour the cells, transparent where there is nothing to see, so that any background will do."""
    values = cells(tensor)
    image = np.zeros((*values.shape, 4))
    image[...] = (*SHADES["unknown"], 0.25)
    known = np.isfinite(values)
    image[known] = shade(values[known], threshold)
    if tensor.entries is None:
        if not known.all() and tensor.verdict is Verdict.FAIL:
            image[...] = (*SHADES["beyond"], 1.0)
        return image
    aside, gradient, numerical = (
        part.reshape(values.shape) for part in (tensor.entries.aside, tensor.entries.gradient, tensor.entries.numerical)
    )
    image[(gradient == 0.0) & (numerical == 0.0)] = 0.0
    image[~np.isfinite(gradient)] = (*SHADES["beyond"], 1.0)
    image[aside] = (*SHADES["aside"], 0.9)
    return _pooled(image, np.where(aside, np.inf, np.nan_to_num(values, nan=-1.0)))


def _pooled(image: Array, values: Array) -> Array:
    """Keep of the cells that would share a pixel the one with the largest value."""
    rows, columns = values.shape
    high, wide = min(rows, CELLS), min(columns, CELLS)
    pixel = (np.arange(rows) * high // rows)[:, None] * wide + np.arange(columns) * wide // columns
    order = np.argsort(values, axis=None, kind="stable")
    shown = np.empty(high * wide, dtype=np.intp)
    shown[pixel.ravel()[order]] = order  # where several meet, the last one stays
    pooled: Array = image.reshape(-1, 4)[shown].reshape(high, wide, 4)
    return pooled


def shade(values: Array, threshold: float) -> Array:
    """Give red, green, blue and opacity of differences: blue up to the threshold, red beyond, fuller as they grow."""
    logs = np.clip(np.log10(np.maximum(values, 10.0**LOWEST)), LOWEST, 0.0)
    middle = float(np.log10(threshold))
    image = np.empty((*np.shape(values), 4))
    within = logs <= middle
    image[..., :3] = np.where(within[..., None], SHADES["within"], SHADES["beyond"])
    low = 0.08 + 0.42 * (logs - LOWEST) / max(middle - LOWEST, 1e-9)
    image[..., 3] = np.where(within, np.clip(low, 0.08, 0.5), 0.5 + 0.5 * (logs - middle) / -middle)
    return image


def _scale(axes: Any, threshold: float, top: float) -> None:
    box = Box(INDENT, top, SCALE, 9.0)
    _image(axes, box, shade(10.0 ** np.linspace(LOWEST, 0.0, 161), threshold)[None])
    _framed(axes, box, "line", 0.8)
    for power, words in ((LOWEST, "1e-16"), (np.log10(threshold), f"threshold {threshold:.0e}"), (0.0, "1")):
        at = INDENT + SCALE * (1.0 - power / LOWEST)
        axes.text(at, top + 12.0, words, fontsize=9, color=PALETTE["soft"], ha="center", va="top")


def _keys(report: Findings) -> list[tuple[str, tuple[float, ...]]]:
    """Give what the colours beside the scale mean, where they occur."""
    keys: list[tuple[str, tuple[float, ...]]] = []
    own = [tensor.entries for tensor in report.tensors.values() if tensor.entries is not None]
    if any(entries.aside.any() for entries in own):
        keys.append(("set aside at a kink", (*SHADES["aside"], 0.9)))
    if any(((entries.gradient == 0.0) & (entries.numerical == 0.0)).any() for entries in own):
        keys.append(("zero in both", (0.0, 0.0, 0.0, 0.0)))
    if any(np.isnan(tensor.difference) and tensor.verdict is not Verdict.FAIL for tensor in report.tensors.values()):
        keys.append(("not measured", (*SHADES["unknown"], 0.25)))
    return keys
