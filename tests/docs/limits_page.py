"""Writes docs/reference/limits.md from the docstrings: `python tests/docs/limits_page.py`."""

import ast
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "limits.md"
MODEL = ROOT / "src" / "natsume" / "model"
HEAD = """# Limits

Every bound of the system, and every time by which it goes. They are constants: no option changes them.
What an installation can set is in [environment](environment.md).

This page is written by `tests/docs/limits_page.py`, from the docstrings of `limits` and `times` in `natsume.model`.
"""
BOUNDS = """
## Bounds

Sizes in bytes, text in characters.

| limit | value | what it bounds |
|---|---|---|
"""
TIMES = """
## Times

In seconds.

| time | value | what takes so long |
|---|---|---|
"""


def rendered() -> str:
    """The page, as the sources want it."""
    return HEAD + BOUNDS + _rows("limits.py") + TIMES + _rows("times.py")


def _rows(source: str) -> str:
    rows = ""
    for bound, text in pairwise(ast.parse((MODEL / source).read_text()).body):
        if isinstance(bound, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(bound.target, ast.Name)
            assert isinstance(text.value, ast.Constant)
            sentence = " ".join(str(text.value.value).split())
            rows += f"| `{bound.target.id}` | {_number(ast.unparse(bound.value or bound.target))} | {sentence} |\n"
    return rows


def _number(expression: str) -> str:
    value = eval(expression, {"__builtins__": {}})  # an expression of numbers in our own source
    return f"{value:,.10g}" if isinstance(value, float) else f"{value:,}"


if __name__ == "__main__":
    PAGE.write_text(rendered())
