# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documentation shows works as it stands there."""

import ast
import json
import re

import pytest

from conftest import ROOT

PAGES = ("README.md", "docs/python.md", "tools/python/README.md")


@pytest.fixture
def beside_samples(tmp_path, monkeypatch):
    (tmp_path / "samples").symlink_to(ROOT / "samples")
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("page", PAGES)
def test_examples(page, beside_samples, capsys):
    blocks = re.findall(r"^```python\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.S | re.M)
    assert blocks
    names = {}
    for block in blocks:
        exec(compile(block, page, "exec"), names)
    assert capsys.readouterr().out


def test_the_notebook(beside_samples, tmp_path, monkeypatch):
    """Its cells in order, as Jupyter runs them, from the folder of the notebook: the value of the last line is shown."""
    (tmp_path / "docs").mkdir()
    monkeypatch.chdir(tmp_path / "docs")
    book = json.loads((ROOT / "docs" / "python_tutorial.ipynb").read_text(encoding="utf-8"))
    names, shown = {}, []
    for cell in book["cells"]:
        if cell["cell_type"] != "code":
            continue
        assert not cell["outputs"]
        tree = ast.parse("".join(cell["source"]))
        last = tree.body.pop() if isinstance(tree.body[-1], ast.Expr) else None
        exec(compile(tree, "notebook", "exec"), names)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "notebook", "eval"), names)
            shown.append(value._repr_html_() if hasattr(value, "_repr_html_") else repr(value))
    assert any("data:image/png" in text for text in shown)
