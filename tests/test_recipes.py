"""Every recipe of docs/recipes.md passes as it stands, and finds a mistake that is planted in it."""

import re
from pathlib import Path

import pytest

from checks import GradientCheckError

PAGE = (Path(__file__).parents[1] / "docs" / "recipes.md").read_text(encoding="utf-8")
PARTS = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RECIPES = {title: "\n\n".join(BLOCK.findall(text)) for title, text in zip(PARTS[1::2], PARTS[2::2], strict=True)}
BEGINNING = "\n".join(BLOCK.findall(PARTS[0]))
NEEDS = {"A pair for scipy": ["Softmax and cross-entropy"]}
NEEDS |= {"A support vector machine": ["Softmax and cross-entropy"]}

#: What somebody gets wrong in each: a piece of its code, and what stands there instead.
MISTAKES = {
    "A classroom layer": ("x.T @ dz", "x.T @ dout"),
    "Batch norm": ("d - d.mean(axis=0) - normal", "d - normal"),
    "Convolution": ("kernel[::-1, ::-1]", "kernel"),
    "Max-pool": ("share = mask / mask.sum(axis=(1, 3), keepdims=True)", "share = mask * 1.01"),
    "An LSTM step": ("flow * c * f * (1 - f)", "flow * f * (1 - f)"),
    "Softmax and cross-entropy": ("gradient / 5", "gradient"),
    "A support vector machine": ("0.2 * W", "0.1 * W"),
    "A pair for scipy": ("-p[0] * np.arange(5.0) * decay", "p[0] * np.arange(5.0) * decay"),
    "An objective for LightGBM": ("(1 + 2 * gamma)", "(1 + gamma)"),
    "A structure of parameters": ("(1 - hidden**2)", "(1 - hidden)"),
    "A model that holds its parameters": ("return d @ self.W.T", "return 2 * d @ self.W.T"),
    "A derivative forward": ("dx @ w + x @ dw", "dx @ w - x @ dw"),
    "A loop of your own": ("2 * rows.T", "rows.T"),
    "A Function of torch": ("3 * g", "2 * g"),
    "A custom_vjp of jax": ('(g["out"] * sine).sum()', '(g["out"] * sine).mean()'),
}


def run(title: str, code: str) -> None:
    """Run the beginning of the page, what a recipe needs of others, and the recipe."""
    shared: dict[str, object] = {}
    for text in (BEGINNING, *(RECIPES[other] for other in NEEDS.get(title, ())), code):
        exec(compile(text, f"recipes.md, {title}", "exec"), shared)


@pytest.fixture(params=RECIPES)
def title(request: pytest.FixtureRequest) -> str:
    """Give the title of a recipe whose library is installed."""
    for module in re.findall(r"^import (jax|torch)$", RECIPES[request.param], re.MULTILINE):
        pytest.importorskip(module)
    return str(request.param)


def test_it_passes(title: str) -> None:
    run(title, RECIPES[title])


def test_a_mistake_in_it_is_found(title: str) -> None:
    right, wrong = MISTAKES[title]
    assert RECIPES[title].count(right) == 1
    with pytest.raises(GradientCheckError, match="FAIL"):
        run(title, RECIPES[title].replace(right, wrong))


def test_every_recipe_has_a_mistake() -> None:
    assert list(MISTAKES) == list(RECIPES)
