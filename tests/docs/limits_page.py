"""Writes docs/reference/limits.md from the docstrings: `python tests/docs/limits_page.py`."""

import ast
from itertools import pairwise
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "limits.md"
SOURCE = ROOT / "src" / "natsume" / "model" / "limits.py"
HEAD = """# Limits

Every bound of the system. Sizes are in bytes, times in seconds. They are constants: no option changes them.
What an installation can set is in [environment](environment.md).

This page is written from the docstrings of `natsume.model.limits` by `tests/docs/limits_page.py`.

| limit | value | what it bounds |
|---|---|---|
"""


def rendered() -> str:
    """The page, as the source wants it."""
    rows = ""
    body = ast.parse(SOURCE.read_text()).body
    for bound, text in pairwise(body):
        if isinstance(bound, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(bound.target, ast.Name)
            assert isinstance(text.value, ast.Constant)
            sentence = " ".join(str(text.value.value).split())
            rows += f"| `{bound.target.id}` | {_number(ast.unparse(bound.value or bound.target))} | {sentence} |\n"
    return HEAD + rows


def _number(expression: str) -> str:
    value = eval(expression, {"__builtins__": {}})  # an expression of numbers in our own source
    return f"{value:,.10g}" if isinstance(value, float) else f"{value:,}"


if __name__ == "__main__":
    PAGE.write_text(rendered())
