"""The page of a run: whole, harmless, and fit to be looked at in a real browser."""

import builtins
import html
import json
import re
import shutil
import subprocess
import tomllib
from dataclasses import replace
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from checks import Verdict
from experiments.fraud import main as fraud
from experiments.report import pictures
from experiments.report.main import main
from experiments.report.page import page
from experiments.runs.judging import Span
from experiments.runs.reading import read_run
from experiments.runs.record import Record
from experiments.runs.results import Rival, Table
from experiments.screen import of_payments
from trainer import Callback, TrainState

from ..conftest import RUNS, SMALL

Captured = pytest.CaptureFixture[str]
EVIL = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "{{ 7 * 7 }}",
    "$\\frac{a}{b}$",
    "]]></style>",
    "–\x00é",
]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SWITCHES = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--virtual-time-budget=5000"),
]
WIDTHS = (375, 1280)


@pytest.fixture
def extra() -> None:
    for name in ("matplotlib", "jinja2"):
        pytest.importorskip(name, reason="the extra `report` is not installed")


class Elements(HTMLParser):
    """Every element of a page with its attributes, and the text under each kind of element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.text: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def words(elements: Elements) -> str:
    return " ".join(" ".join(elements.text).split())


def own_page(folder: Path) -> str:
    """Read the page that a run has made; the first test below shows that it is the page of what the folder holds."""
    return (folder / "report.html").read_text(encoding="utf-8")


@pytest.mark.usefixtures("extra")
@pytest.mark.parametrize(
    ("run", "told", "pictures"),
    [
        ("completed", "4 of 4 gradient checks passed", 5),
        ("halted", "Wrong gradient at iteration 10: look first at W2[", 3),
        ("along", "Wrong gradient at iteration 1: look first at ", 3),
        ("on the batch", "Wrong gradient at iteration 1: backprop is wrong on this batch", 3),
        ("unchecked", "20 iterations, and the gradient was never checked", 3),
        ("deep", "Not exercised, for gradient and slopes are zero", 5),
        ("failing", "Do not trust this model: 5 of 5 gradient checks failed", 5),
    ],
)
def test_a_page_tells_how_the_run_went_and_shows_it(run: str, told: str, pictures: int, kept) -> None:
    text = own_page(kept(run))
    elements, record = Elements(text), read_run(kept(run))
    assert text == page(record)  # of nothing but the folder
    assert told in words(elements)
    assert " ".join(str(record.proof).split()) in words(elements)
    drawn = [attributes for _, attributes in elements.found if attributes.get("role") == "img"]
    assert len(drawn) == pictures
    assert all(attributes["aria-label"] for attributes in drawn)
    assert len(elements.all("svg")) == 2 * pictures
    failed = record.report is not None and record.report.verdict is Verdict.FAIL
    assert ("What is wrong" in words(elements)) == failed
    assert (" ".join(of_payments(record.report).split()) in words(elements)) == failed


@pytest.mark.usefixtures("extra")
@pytest.mark.parametrize(
    ("run", "first", "second"),
    [
        ("completed", "PASS difference", "PASS difference"),
        ("halted", "FAIL (wrong gradient) difference", "FAIL (backprop is wrong on this batch) difference"),
        ("on the batch", "PASS difference", "FAIL (backprop is wrong on this batch) difference"),
        ("one question", "PASS difference", "– not asked"),
    ],
)
def test_the_page_says_where_each_of_the_two_questions_stands(run: str, first: str, second: str, kept) -> None:
    shown = words(Elements(own_page(kept(run))))
    assert f"Is backprop right? {first}" in shown
    assert f"Is the gradient about to be applied that of its batch? {second}" in shown


@pytest.mark.usefixtures("extra")
def test_the_confusion_and_the_cut_are_on_the_page(kept) -> None:
    record = read_run(kept("completed"))
    shown = words(Elements(own_page(kept("completed"))))
    assert record.curve is not None
    of = record.curve.confusion
    assert f"called fraud from a probability of {record.curve.cut:.3g} on" in shown
    assert f"fraud {of.true_positives} {of.false_negatives} honest {of.false_positives}" in shown


@pytest.mark.usefixtures("extra")
def test_the_page_begins_with_the_data_and_what_is_found_and_the_proof_is_folded(kept) -> None:
    text = own_page(kept("completed"))
    shown = words(Elements(text))
    order = [
        "Calls nothing fraud: no threshold was found for a precision of at least 0.9",
        "the synthetic table: 1,000 payments, 20 of them fraud. The network has learned from 600, "
        "its threshold comes from 200 others, and it was judged on 200 that neither has seen, 4 of them fraud.",
        "Average precision",
        "Finding fraud",
        "Is the gradient right? 4 of 4 gradient checks passed.",
        "The back-propagation was compared 4 times",
        "Settings and versions",
    ]
    assert [shown.find(part) for part in order] == sorted(shown.find(part) for part in order)
    assert min(shown.find(part) for part in order) > 0
    assert text.count("<details>") == 1
    assert "<details open>" not in text
    wrong = own_page(kept("failing"))
    assert "<details open>" in wrong
    assert wrong.index("Do not trust this model") < wrong.index("Is the gradient right?") < wrong.index("Finding fraud")


@pytest.mark.usefixtures("extra")
def test_rivals_are_ranked_and_weeks_told_and_what_is_late_and_worse_named(kept) -> None:
    record = read_run(kept("completed"))
    assert record.metrics is not None
    assert record.metrics.test is not None
    assert record.curve is not None
    own = record.metrics.test.average_precision
    rivals = [Rival("the worse", own - 0.01, 0.1, None, 1.0), Rival("the better", own + 0.01, 0.2, 0.3, 1.0)]
    test = replace(record.metrics.test, worse_of_late="recall 0.40 from week 2 on, 0.80 before")
    spans = [Span("week 1", 50, 5, 4, 5), Span("week 2", 50, 0, 0, 0)]
    metrics = replace(record.metrics, rivals=rivals, test=test)
    shown = words(Elements(page(replace(record, metrics=metrics, curve=replace(record.curve, spans=spans)))))
    assert shown.index("the better") < shown.index("this network") < shown.index("the worse")
    assert "It is worse of late: recall 0.40 from week 2 on, 0.80 before." in shown
    assert "week 1 50 5 4 0.800 5 0.800 week 2 50 0 0 – 0 –" in shown


@pytest.mark.usefixtures("extra")
def test_one_epoch_is_one_epoch(kept) -> None:
    record = read_run(kept("completed"))
    assert record.metrics is not None
    one = replace(record, epochs=record.epochs[:1], metrics=replace(record.metrics, best_epoch=None))
    assert "Iterations 20 1 epoch Training" in words(Elements(page(one)))
    assert "Iterations 20 2 epochs, kept is number" in words(Elements(own_page(kept("completed"))))


@pytest.mark.usefixtures("extra")
@pytest.mark.parametrize("run", RUNS)
def test_a_page_asks_the_network_for_nothing(run: str, kept) -> None:
    text = own_page(kept(run))
    for tag, attributes in Elements(text).found:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base", "form", "a")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "action", "srcset"):
                assert str(value).startswith(("#", "data:image/png;base64,"))
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert "@import" not in text
    assert "default-src 'none'" in text


@pytest.mark.usefixtures("extra")
@pytest.mark.parametrize("run", RUNS)
def test_a_page_is_well_formed(run: str, kept) -> None:
    text = own_page(kept(run))
    elements = Elements(text)
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = re.findall(r'(?:href="#|url\(#)([^")]+)', text)
    assert set(targets) <= set(ids)
    assert elements.all("html") == [{"lang": "en"}]
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in elements.all("meta")
    levels = [int(tag[1]) for tag, _ in elements.found if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert len(text) < 1_000_000


def spoilt(record: Record, text: str) -> Record:
    """Put a text wherever one can come from a file."""
    report = record.report
    assert report is not None
    assert record.metrics is not None
    tensors = {}
    for number, tensor in enumerate(report.tensors.values()):
        mistake = None if tensor.mistake is None else replace(tensor.mistake, sentence=text)
        tensors[f"{text}{number}"] = replace(tensor, name=f"{text}{number}", evidence=text, mistake=mistake)
    return replace(
        record,
        settings={text: text, "out": text, "hidden": [text, text], "bug": {text: text}, "versions": {text: text}},
        checks=[replace(check, worst=text, cause=text) for check in record.checks],
        metrics=replace(record.metrics, reason=text, table=Table(text, (5, 7, 3), (1, 2, 1), 9, [text], [text])),
        proof=text,
        report=replace(report, tensors=tensors, notes=(text,), coverage=text, derivative=text),
    )


@pytest.fixture(scope="module")
def harmless(kept) -> Elements:
    return Elements(page(spoilt(read_run(kept("halted")), "harmless")))


@pytest.mark.usefixtures("extra")
@pytest.mark.parametrize("text", EVIL)
def test_text_from_outside_is_text_on_the_page_and_nothing_else(text: str, kept, request) -> None:
    plain, evil = request.getfixturevalue("harmless"), Elements(page(spoilt(read_run(kept("halted")), text)))
    for tag in ("script", "img", "style"):
        assert len(evil.all(tag)) == len(plain.all(tag))
    names = {name for _, attributes in evil.found for name in attributes}
    assert names == {name for _, attributes in plain.found for name in attributes}
    if "\x00" not in text and "$" not in text:
        assert words(evil).count(" ".join(text.split())[:20]) >= 20


@pytest.mark.usefixtures("extra")
def test_a_name_is_no_formula_in_a_picture(kept) -> None:
    picture = pictures.heat_map(spoilt(read_run(kept("halted")), "$\\frac{a}{b}$"))
    assert picture is not None
    assert ">$\\frac{a}{b}$0</text>" in picture.wide


class InterruptedAtSeven(Callback):
    def on_batch_begin(self, state: TrainState) -> None:
        if state.iteration == 7:
            raise KeyboardInterrupt


@pytest.mark.usefixtures("extra")
def test_an_interrupted_run_has_a_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fraud, "ProgressBar", InterruptedAtSeven)
    assert fraud.main([*SMALL, "--out", str(tmp_path)]) == 130
    shown = words(Elements((tmp_path / "report.html").read_text(encoding="utf-8")))
    assert "Interrupted: Cut short after 6 iterations; 1 of 1 gradient checks passed" in shown


@pytest.mark.usefixtures("extra")
@pytest.mark.parametrize("rows", [0, 1, 3, 12])
def test_a_killed_run_gets_a_page_on_request(rows: int, own, capsys: Captured) -> None:
    folder = own("completed")
    for path in folder.iterdir():
        if path.name not in ("settings.json", "history.jsonl"):
            path.unlink()
    lines = (folder / "history.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "history.jsonl").write_bytes(b"".join(lines[:rows]))
    capsys.readouterr()
    assert main([str(folder)]) == 0
    assert capsys.readouterr().out == f"{folder / 'report.html'}\n"
    shown = words(Elements((folder / "report.html").read_text(encoding="utf-8")))
    assert "Unfinished" in shown
    assert "before it could say what its checks have shown" in shown


@pytest.mark.usefixtures("extra")
def test_a_page_can_go_elsewhere_and_is_the_same_again(own, tmp_path: Path) -> None:
    folder = own("halted")
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert main([str(folder), "--to", str(tmp_path / "there.html")]) == 0
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert (tmp_path / "there.html").read_bytes() == before["report.html"]
    assert main([str(folder), "--to", str(tmp_path / "no" / "folder" / "there.html")]) == 2


@pytest.mark.usefixtures("extra")
@pytest.mark.parametrize(
    ("loss", "difference"),
    [(np.nan, np.nan), (np.inf, np.inf), (-np.inf, 0.0), (0.0, 1.0), (-3.0, 1e-300), (1e300, 0.5), (1e-300, 1e-9)],
)
def test_any_numbers_can_be_drawn(loss: float, difference: float, kept) -> None:
    record = read_run(kept("halted"))
    losses = record.losses.copy()
    losses[2:, 1] = loss
    checks = [replace(check, difference=difference, rounding=loss, loss=loss) for check in record.checks]
    spoilt = replace(record, losses=losses, checks=checks, epochs=np.array([[5.0, loss, np.nan], [10.0, 1.0, loss]]))
    for draw in (pictures.losses, pictures.differences):
        picture = draw(spoilt)
        assert picture is not None
        assert picture.wide.count("<text") >= 5


def test_without_the_extra_a_run_is_kept_and_says_what_is_missing(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def refuse(name: str, *args: Any, **options: Any) -> Any:
        if name.startswith(("matplotlib", "jinja2")):
            raise ImportError(f"No module named {name!r}")
        return real(name, *args, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert fraud.main([*SMALL, "--out", str(tmp_path)]) == 0
    said = [line for line in capsys.readouterr().err.splitlines() if "report.html" in line]
    assert len(said) == 1
    assert said[0].endswith("it takes the extra 'report' (matplotlib and jinja2)")
    assert not (tmp_path / "report.html").exists()
    assert json.loads((tmp_path / "metrics.json").read_text(encoding="utf-8"))["outcome"] == "completed"
    assert main([str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert shown.count("\n") == 1
    assert "pip install 'backproof[report]'" in shown


@pytest.mark.usefixtures("extra")
def test_a_page_that_cannot_be_drawn_loses_nothing(
    tmp_path: Path, capsys: Captured, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(record: Record) -> str:
        raise RuntimeError("no ink\nleft")

    monkeypatch.setattr("experiments.report.main.page", fail)
    assert fraud.main([*SMALL, "--out", str(tmp_path)]) == 0
    shown = capsys.readouterr()
    assert "WARNING report.html was not written: RuntimeError: no ink left" in shown.err
    assert "Proof:" in shown.out
    assert (tmp_path / "metrics.json").exists()
    assert not (tmp_path / "report.html").exists()


RULER = (Path(__file__).parents[1] / "ruler.js").read_text(encoding="utf-8")


def measured(pages: dict[str, str], scheme: str, folder: Path) -> list[dict[str, Any]]:
    """Lay pages out in Chromium, each in a frame of every width, and give what a ruler says."""
    frames = "".join(
        f'<iframe title="{name}" style="width:{width}px;height:9000px;border:0" srcdoc="{html.escape(text)}"></iframe>'
        for name, text in pages.items()
        for width in WIDTHS
    )
    ruler = folder / f"{scheme}.html"
    ruler.write_text(f"<!doctype html><meta charset=utf-8><script>{RULER}</script><body>{frames}", encoding="utf-8")
    chosen = f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"
    command = [str(CHROMIUM), *SWITCHES, f"--user-data-dir={folder / scheme}", chosen, "--dump-dom", ruler.as_uri()]
    shown = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    body = re.search(r"<body>(.*)</body>", shown, re.DOTALL)
    assert body is not None
    found: list[dict[str, Any]] = json.loads(html.unescape(body[1]))
    return found


@pytest.mark.usefixtures("extra")
@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser_nothing_is_missing_overflows_collides_or_is_faint(scheme: str, kept, tmp_path: Path) -> None:
    runs = ("completed", "halted", "along", "deep")
    long = page(spoilt(read_run(kept("halted")), "a_name_without_an_end" * 9))
    pages = {run: own_page(kept(run)) for run in runs} | {"long": long}
    found = measured(pages, scheme, tmp_path)
    assert len(found) == len(pages) * len(WIDTHS)
    for one in found:
        assert one["scroll"] == one["width"], one
        assert one["paper"] == {"light": "rgb(252, 252, 251)", "dark": "rgb(20, 24, 30)"}[scheme]
        assert len(one["pictures"]) == (5 if one["name"] in ("completed", "deep") else 3)
        for shown in one["pictures"]:
            assert len(shown) == 1, "of the two widths of a picture one is to be seen"
            assert shown[0][0] > 0.8 * min(720, one["width"])
            assert shown[0][1] > 60
        for fault in ("beyond", "small", "faint", "clash"):
            assert one[fault] == [], (one["name"], one["width"], fault)
        assert one["empty"] == 0


def test_an_installed_copy_has_the_templates() -> None:
    root = Path(__file__).parents[3]
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = project["tool"]["setuptools"]["package-data"]["experiments.report"]
    shipped = {path for pattern in patterns for path in (root / "experiments" / "report").glob(pattern)}
    assert {path.name for path in shipped} == {"report.html.j2", "report.css"}
    assert shipped == {path for path in (root / "experiments" / "report" / "templates").rglob("*") if path.is_file()}
