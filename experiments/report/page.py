"""Page: one run as a single file of HTML for a browser: no network, no script, light and dark; needs jinja2."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from checks import GradientReport, Verdict
from experiments.model.threshold import Threshold
from experiments.report import pictures
from experiments.runs.record import Record
from experiments.screen import of_payments

TEMPLATES = Path(__file__).parent / "templates"
TENSORS = 400  # rows of the table; report.json has all
LONGEST = 20_000  # letters of the text of a report; report.json has it whole


@dataclass(frozen=True)
class Headline:
    """How a run went, in one line: the tone is ``"pass"``, ``"fail"`` or ``"open"``."""

    tone: str
    word: str
    sentence: str


def page(record: Record) -> str:
    """Give the page, of nothing but the record, its text escaped; an ImportError if the extra ``report`` is missing."""
    try:
        import matplotlib as mpl
        from jinja2 import Environment, FileSystemLoader, StrictUndefined
        from markupsafe import Markup
    except ImportError as error:
        raise ImportError(
            "report.html is made with matplotlib and jinja2. Expected them installed, as by "
            f"pip install 'backproof[report]'. Received {error}."
        ) from error
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    versions = record.settings.get("versions")
    environment.filters["svg"] = Markup  # what `pictures` made: matplotlib escapes the text in it
    report = record.report
    failed = report is not None and report.verdict is Verdict.FAIL
    shown = list(report.tensors.values())[:TENSORS] if report is not None else []
    words = of_payments if "fraud_rate" in record.settings else str  # of the main job, or of whoever trained
    text = words(report) if failed else ""
    html: str = environment.get_template("report.html.j2").render(
        record=record,
        headline=headline(record),
        told=finding(record),
        table=None if record.metrics is None else record.metrics.table,
        rivals=list(rivals(record)),
        calibration=pictures.calibration(record),
        cut="" if record.curve is None else str(Threshold(record.curve.cut, record.curve.rule)),
        facts=list(facts(record)),
        settings=[(name, value) for name, value in record.settings.items() if name != "versions"],
        versions=(versions if isinstance(versions, dict) else {}) | {"matplotlib": mpl.__version__},
        losses=pictures.losses(record),
        differences=pictures.differences(record),
        heat_map=pictures.heat_map(record),
        curve=pictures.precision_recall(record),
        tensors=shown,
        unshown=len(report.tensors) - len(shown) if report is not None else 0,
        culprit=report.culprits[0] if report is not None and report.culprits else None,
        questions=list(questions(report)) if report is not None else [],
        text=text if len(text) <= LONGEST else f"{text[:LONGEST]}…\n\nreport.json has it all.",
        when=f"{record.checks[-1].iteration:,}" if record.checks else "unknown",
    )
    return html


def headline(record: Record) -> Headline:
    """Say how the run went, the worst first."""
    verdicts = [check.verdict for check in record.checks]
    n, wrong, unsure = len(verdicts), verdicts.count(Verdict.FAIL), verdicts.count(Verdict.UNDECIDED)
    done = updates(record)
    if wrong and record.outcome in ("halted", "stopped"):
        last = record.checks[-1]
        where = f": look first at {last.worst}" if last.worst else f": {last.cause}" if last.cause else ""
        return Headline("fail", record.outcome, f"Wrong gradient at iteration {last.iteration:,}{where}")
    if wrong:
        return Headline("fail", record.outcome, f"Do not trust this model: {wrong} of {n} gradient checks failed")
    if record.outcome == "diverged":
        return Headline("fail", "diverged", f"The training diverged after {done:,} iterations")
    if not n:
        return Headline("open", record.outcome, f"{done:,} iterations, and the gradient was never checked")
    passed = f"{n - unsure} of {n} gradient checks passed" + (f", {unsure} undecided" if unsure else "")
    if record.outcome in ("interrupted", "failed", "unfinished"):
        return Headline("open", record.outcome, f"Cut short after {done:,} iterations; {passed}")
    return Headline("open" if unsure else "pass", record.outcome, passed[0].upper() + passed[1:])


def finding(record: Record) -> Headline | None:
    """Say what the detector finds, where nothing is wrong with it."""
    went, curve = headline(record), record.curve
    if went.tone == "fail" or curve is None or record.metrics is None or record.metrics.test is None:
        return None
    if curve.cut_precision is None:
        return Headline(went.tone, went.word, f"Calls nothing fraud: no threshold was found for {curve.rule}")
    found = f"Finds {curve.cut_recall:.0%} of the fraud; {curve.cut_precision:.0%} of its alarms are right"
    return Headline(went.tone, went.word, found)


def rivals(record: Record) -> Iterator[tuple[str, float, float, float | None, bool]]:
    """Give name, average precision, recall and precision of the network and what else one could run, the best first."""
    metrics = record.metrics
    if metrics is None or metrics.test is None or not metrics.rivals:
        return
    own = metrics.test
    rows = [(of.name, of.average_precision, of.recall, of.precision, False) for of in metrics.rivals]
    rows.append(("this network", own.average_precision, own.recall, own.precision, True))
    yield from sorted(rows, key=lambda row: -row[1])


def questions(report: GradientReport) -> Iterator[tuple[str, str, str, str]]:
    """Give both questions of a check: what was asked, the verdict, its cause unless it passed, and a remark."""
    first = replace(report, applied=None)
    where = f"difference {first.difference:.1e}, in float64 on rows of the check's own"
    yield "Is backprop right?", first.verdict.value, "" if first.verdict is Verdict.PASS else first.cause.value, where
    asked, applied = "Is the gradient about to be applied that of its batch?", report.applied
    if applied is None:
        yield asked, "", "", "not asked"
        return
    where = f"difference {applied.difference:.1e}, in {applied.dtype} on its {applied.n_rows} rows. {applied.sentence}"
    cause = "" if applied.verdict is Verdict.PASS else applied.cause.value
    yield asked, applied.verdict.value, cause, of_payments(where.strip())


def updates(record: Record) -> int:
    """Give how many updates were done; the one that was halted or interrupted is not among them."""
    if record.metrics is not None:
        return record.metrics.iterations
    return int(record.losses[-1, 0]) if record.losses.size else 0


def facts(record: Record) -> Iterator[tuple[str, str, str]]:
    """Give name, figure and remark of what was measured."""
    metrics = record.metrics
    if metrics is not None and metrics.test is not None:
        test = metrics.test
        spread = {name: f"{low:.3f} to {high:.3f}" for name, (low, high) in test.intervals.items()}
        guessing = "" if record.curve is None else f"; {record.curve.share:.3f} by guessing"
        yield "Average precision", f"{test.average_precision:.3f}", spread.get("average_precision", "") + guessing
        yield "Recall", f"{test.recall:.3f}", spread.get("recall", "")
        none = "–" if test.precision is None else f"{test.precision:.3f}"
        yield "Precision", none, spread.get("precision", "of no alarm")
        yield "ROC AUC", f"{test.roc_auc:.3f}", "0.500 by guessing"
        if test.cost is not None:
            yield "Cost", f"{test.cost:,.0f}", f"{test.cost_of_nothing:,.0f} if nothing was called fraud"
    if record.losses.size:
        done = len(record.epochs)
        whole = f"{done:,} {'epoch' if done == 1 else 'epochs'}"
        kept = f", kept is number {metrics.best_epoch}" if metrics is not None and metrics.best_epoch else ""
        yield "Iterations", f"{updates(record):,}", whole + kept
    if metrics is not None:
        yield "Training", f"{metrics.seconds:.2f} s", f"{metrics.checks_share:.0%} of it for gradient checks"
