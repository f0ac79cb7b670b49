"""Pictures of one run, drawn with matplotlib as SVG: text stays text, and colours follow the page they stand on."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from checks import Verdict
from checks.report.plot import PALETTE, plot, shortened
from experiments.model.threshold import Threshold
from experiments.report.svg import svg
from experiments.runs.record import Check, Record
from trainer.network.parameters import Array

WIDE, NARROW = 720.0, 343.0  # points across: a column of text, and a phone of 375 less its margins
HEIGHT = {WIDE: 270.0, NARROW: 230.0}
POINTS = 600  # of a line; more than a picture shows
MARKS = 300  # checks that are marked one by one; of the passing ones only some beyond
HUGE = 1e100  # a loss beyond that is left out, as infinity is
LEAST = 1e-17  # where a difference of zero is drawn on an axis of logarithms
MARK = {Verdict.PASS: ("o", "blue", 4.5), Verdict.UNDECIDED: ("D", "open", 6.0), Verdict.FAIL: ("X", "fail", 9.0)}


@dataclass(frozen=True)
class Picture:
    """One picture as SVG in two widths, for a screen and for a phone; `alt` says in words what can be seen."""

    name: str  # unique on the page
    alt: str
    wide: str
    narrow: str


def losses(record: Record) -> Picture | None:
    """Draw the losses of iterations, epochs and validation rows, with the checks below them; None without any."""
    if not record.losses.size:
        return None
    values = [part[np.isfinite(part)] for part in (record.epochs[:, 1], record.epochs[:, 2])]
    words = [
        f"{name} loss from {of[0]:.3g} to {of[-1]:.3g}"
        for name, of in zip(("training", "validation"), values, strict=True)
        if of.size
    ]
    alt = f"Loss over {int(record.losses[-1, 0]):,} iterations; {', '.join(words) or 'no epoch was finished'}. "
    return _picture("losses", alt + _counted(record.checks), lambda figure, width: _losses(figure, width, record))


def differences(record: Record) -> Picture | None:
    """Draw the difference of every check against the threshold and what rounding explains; None without checks."""
    if not record.checks:
        return None
    known = [check.difference for check in record.checks if np.isfinite(check.difference)]
    spread = f"from {min(known):.1e} to {max(known):.1e}" if known else "not measured"
    alt = f"Relative differences {spread}, against a threshold of {record.checks[-1].threshold:.0e}. "
    checks = record.checks
    return _picture("differences", alt + _counted(checks), lambda figure, width: _differences(figure, width, checks))


def heat_map(record: Record) -> Picture | None:
    """Draw the last check entry by entry; None where none was kept."""
    report = record.report
    if report is None or not report.tensors:
        return None
    names = ", ".join(shortened(tensor.name) for tensor in report.culprits[:9])
    alt = f"Heat map of {report.n_parameters:,} parameters in {len(report.tensors)} tensors, verdict {report.verdict}. "
    alt += f"Wrong: {names}; look first at {report.culprits[0].label}." if names else "None is wrong."
    return _picture("entries", alt, lambda figure, width: plot(report, figure, width=width))


def precision_recall(record: Record) -> Picture | None:
    """Draw precision against recall, with the chosen cut; None where no test rows were measured."""
    curve = record.curve
    if curve is None:
        return None
    precision = 1.0 if curve.cut_precision is None else curve.cut_precision  # of no alarm
    alt = (
        f"Precision against recall on the test rows. At the chosen cut, recall {curve.cut_recall:.3f} and precision "
        f"{precision:.3f}; guessing has a precision of {curve.share:.3f}."
    )

    def draw(figure: Any, width: float) -> None:
        axes = _axes(figure, width)
        axes.plot(curve.recall, curve.precision, color=PALETTE["blue"], linewidth=1.8, drawstyle="steps-post")
        axes.axhline(curve.share, color=PALETTE["soft"], linewidth=1.0, linestyle=(0, (2, 2)))
        axes.annotate(
            f"guessing {curve.share:.3f}", (0.0, curve.share), (4, 4), textcoords="offset points", color=PALETTE["soft"]
        )
        axes.plot([curve.cut_recall], [precision], "o", color=PALETTE["warm"], markersize=8)
        late = curve.cut_recall > 0.5  # then there is room to the left
        words = f"cut {Threshold(curve.cut, curve.rule)}: recall {curve.cut_recall:.3f}\nat precision {precision:.3f}"
        axes.annotate(
            words,
            (curve.cut_recall, precision),
            (-10 if late else 10, -12),
            textcoords="offset points",
            ha="right" if late else "left",
            va="top",
            color=PALETTE["warm"],
        )
        axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.04), xlabel="recall: share of the frauds found")
        _titled(axes, "precision: share of the alarms that are right")

    return _picture("curve", alt, draw)


def calibration(record: Record) -> Picture | None:
    """Draw the share of fraud against the probability, before and after it was put right; None without test rows."""
    curve, metrics = record.curve, record.metrics
    if curve is None or metrics is None or metrics.test is None or not curve.calibration:
        return None
    before = curve.uncorrected != curve.calibration
    of = [("as used", curve.calibration, metrics.test.brier, ("o", "blue"))]
    of += [("as trained", curve.uncorrected, metrics.test.brier_uncorrected, ("D", "warm"))] if before else []
    briers = ", ".join(f"{name} {brier:.4f}" for name, _, brier, _ in of)
    alt = f"Share of fraud among rows of about the same probability. Brier score {briers}; 0 is best."

    def draw(figure: Any, width: float) -> None:
        axes = _axes(figure, width)
        axes.plot([0.0, 1.0], [0.0, 1.0], color=PALETTE["soft"], linewidth=1.0, linestyle=(0, (2, 2)))
        for name, bins, brier, (marker, colour) in of:
            at, shares = [part.mean for part in bins], [part.share for part in bins]
            style = {"linestyle": "none", "marker": marker, "markersize": 6.0, "clip_on": False, "zorder": 3}
            axes.plot(at, shares, color=PALETTE[colour], label=f"{name}: Brier score {brier:.4f}", **style)
        axes.set(xlim=(0.0, 1.0), ylim=(0.0, 1.04), xlabel="probability of fraud, as the model says")
        axes.legend(loc="upper left", frameon=False, labelcolor=PALETTE["ink"])
        _titled(axes, "share of fraud among the rows")

    return _picture("calibration", alt, draw)


def _picture(name: str, alt: str, draw: Callable[[Any, float], object]) -> Picture:
    return Picture(name, alt, *(svg(draw, f"{name}-{int(width)}", width, HEIGHT[width]) for width in (WIDE, NARROW)))


def _axes(figure: Any, width: float) -> Any:
    left, right, below, above = 46.0, 14.0, 40.0, 24.0
    height = HEIGHT[width]
    place = (left / width, below / height, 1.0 - (left + right) / width, 1.0 - (below + above) / height)
    axes = figure.add_axes(place)
    axes.spines["left"].set_visible(False)
    axes.tick_params(axis="y", length=0)
    return axes


def _titled(axes: Any, words: str) -> None:
    """Say above the axis what it measures: easier to read than text on its side."""
    axes.text(-0.01, 1.03, words, transform=axes.transAxes, color=PALETTE["soft"], ha="left", va="bottom")


def _losses(figure: Any, width: float, record: Record) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes = _axes(figure, width)
    steps, low, high = _banded(_drawable(record.losses))
    epochs = _drawable(record.epochs)
    axes.fill_between(steps, low, high, color=PALETTE["soft"], alpha=0.22, linewidth=0.6)
    lines = (("training", 1, "ink", "-"), ("validation", 2, "warm", (0, (4, 1.6))))
    shown = [line for line in lines if np.isfinite(epochs[:, line[1]]).any()]
    for name, column, colour, dashes in shown:
        at, of = epochs[:, 0], epochs[:, column]
        few = "o" if at.size < 3 else None
        axes.plot(at, of, color=PALETTE[colour], linewidth=1.8, linestyle=dashes, label=name, marker=few, markersize=5)
    values = np.concatenate([low, high])
    values = values[np.isfinite(values) & (values > 0.0)]
    if values.size and values.max() > 10.0 * values.min() and (low > 0.0).all():
        axes.set_yscale("log")
        close = values.max() < 1e3 * values.min()
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if close else (1.0,)))
        axes.yaxis.set_minor_formatter(NullFormatter())
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlim(0.0, max(2.0, 1.01 * record.losses[-1, 0]))
    axes.set_xlabel("iteration")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    _titled(axes, "loss")
    handles, names = [*axes.get_lines(), axes.collections[0]], [*(name for name, *_ in shown), "single iterations"]
    tight = {"handlelength": 1.5, "handletextpad": 0.5, "columnspacing": 1.2, "borderaxespad": 0.0, "borderpad": 0.2}
    place = {"ncols": 3, "loc": "lower right", "bbox_to_anchor": (1.0, 1.01), "frameon": False}
    axes.legend(handles, names, labelcolor=PALETTE["ink"], **place, **tight)
    _mark(axes, [(check, float(_drawable(check.loss))) for check in record.checks])
    failed = [check for check in record.checks if check.verdict is Verdict.FAIL]
    if failed:
        axes.axvline(failed[0].iteration, color=PALETTE["fail"], linewidth=1.0, zorder=1)


def _drawable(values: Any) -> Array:
    return np.where(np.abs(values) < HUGE, values, np.nan)


def _banded(losses: Array) -> tuple[Array, Array, Array]:
    """Give least and largest loss of neighbouring iterations, as many of them as a picture can show."""
    parts = np.array_split(losses, min(POINTS, len(losses)))
    return (
        np.array([part[-1, 0] for part in parts]),
        np.array([part[:, 1].min() for part in parts]),
        np.array([part[:, 1].max() for part in parts]),
    )


def _differences(figure: Any, width: float, checks: list[Check]) -> None:
    at = np.array([check.iteration for check in checks], dtype=np.float64)
    floor = _drawable(np.array([check.rounding for check in checks]))
    threshold = checks[-1].threshold
    known = [check.difference for check in checks if check.difference > 0.0]
    least = min([*known, *floor[np.isfinite(floor) & (floor > 0.0)], threshold])
    axes = _axes(figure, width)
    axes.set(xlim=(0.0, max(2.0, 1.04 * at.max())), ylim=(max(LEAST, least) / 30.0, 4.0), yscale="log")
    axes.axhline(threshold, color=PALETTE["ink"], linewidth=1.0, linestyle=(0, (4, 2)))
    words = {"xycoords": axes.get_yaxis_transform(), "textcoords": "offset points", "zorder": 4}
    axes.annotate(f"threshold {threshold:.0e}", (0.0, threshold), (4, 4), color=PALETTE["ink"], **words)
    if np.isfinite(floor).any():
        first = floor[np.isfinite(floor)][0]
        dotted = {"color": PALETTE["soft"], "linewidth": 1.0, "linestyle": (0, (1.5, 1.5))}
        axes.plot([0.0, *at], [first, *floor], **dotted)
        axes.annotate("what rounding leaves, about", (0.0, first), (4, 5), color=PALETTE["soft"], **words)
    _mark(axes, [(c, max(c.difference, LEAST) if np.isfinite(c.difference) else 1.0) for c in checks])
    axes.set_xlabel("iteration")
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0e}")
    _titled(axes, "relative difference of the two gradients")


def _mark(axes: Any, checks: list[tuple[Check, float]]) -> None:
    for verdict, (marker, colour, size) in MARK.items():
        own = [(check.iteration, value) for check, value in checks if check.verdict is verdict]
        own = own[:: max(1, len(own) // MARKS)] if verdict is Verdict.PASS else own[:MARKS]
        if own:
            style = {"color": PALETTE[colour], "markersize": size, "markeredgewidth": 0.0, "zorder": 3}
            axes.plot(*zip(*own, strict=True), linestyle="none", marker=marker, **style)


def _counted(checks: list[Check]) -> str:
    verdicts = [check.verdict for check in checks]
    counts = [f"{verdicts.count(verdict)} {verdict}" for verdict in MARK if verdict in verdicts]
    return f"Checks: {', '.join(counts)}." if counts else "No gradient check was run."
