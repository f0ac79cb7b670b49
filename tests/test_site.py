"""The site of `make docs`: every page has its place, every public name its entry, and it is built without a warning."""

import ast
import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("pages", ROOT / "scripts" / "pages.py")
assert SPEC is not None
assert SPEC.loader is not None
PAGES = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(PAGES)


def test_every_page_has_its_place_and_every_place_its_page(tmp_path: Path) -> None:
    PAGES.lay_out(tmp_path / "pages")
    laid_out = {str(path.relative_to(tmp_path / "pages")) for path in (tmp_path / "pages").rglob("*.md")}
    assert set(re.findall(r": ([\w./-]+\.md)$", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.M)) == laid_out


@pytest.mark.parametrize("package", PAGES.PACKAGES)
def test_every_public_name_has_an_entry(package: str) -> None:
    text = (ROOT / package.replace(".", "/") / "__init__.py").read_text(encoding="utf-8")
    names = ast.literal_eval(re.search(r"^__all__ = (\[.*?\])", text, re.M | re.S)[1])  # type: ignore[index]
    assert sorted(re.findall(rf"^::: {package}\.(\w+)$", PAGES.reference(package), re.M)) == sorted(names)


def test_it_is_built_without_a_warning(tmp_path: Path) -> None:
    for extra in ("mkdocs", "material", "mkdocstrings"):
        pytest.importorskip(extra, reason="the extra docs")
    PAGES.lay_out(tmp_path / "build" / "pages")
    shutil.copy(ROOT / "mkdocs.yml", tmp_path)
    for package in ("trainer", "checks", "datasets"):
        (tmp_path / package).symlink_to(ROOT / package)
    made = subprocess.run([sys.executable, "-m", "mkdocs", "build"], cwd=tmp_path, capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    assert "trainer.Model" in (tmp_path / "build" / "site" / "reference" / "trainer" / "index.html").read_text("utf-8")
