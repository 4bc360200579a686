#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes src/mroscope/verbs.py, the functions of the package with signatures and docstrings made of the option tables
that libmroscope gives, and docs/python_api.md, a page of all docstrings. Run it after an option was added or changed; a
test says when that was forgotten.

    MROSCOPE_LIBRARY=build/libmroscope.so python3 tools/python/generate.py [--check]"""

import ast
import re
import sys
import textwrap
import types
from pathlib import Path

HERE = Path(__file__).resolve().parent
# The package without what this file writes.
package = types.ModuleType("mroscope")
package.__path__ = [str(HERE / "src" / "mroscope")]
sys.modules["mroscope"] = package

from mroscope._options import Option, by_name, describe, options  # noqa: E402
from mroscope.errors import in_python  # noqa: E402

IMAGE = "an image or stack: array, path, Image, HyperSpy signal, or a list of several"
PATTERN = IMAGE.replace("an image", "a pattern") + "; or the path of a table"
TABLE = "a table: path, data frame, or rows and columns of values"
# Verb, name of what is measured, what that may be, whether it may be left out, whether arrays are tables.
VERBS = (
    ("mro", "image", IMAGE, False, False),
    ("bandpass", "image", IMAGE, False, False),
    ("haadf", "image", IMAGE, False, False),
    ("eds", "lines", TABLE + ", or a list of several; nothing with map", True, True),
    ("pdf", "pattern", PATTERN, False, False),
    ("lattice", "image", IMAGE, False, False),
    ("shearband", "image", IMAGE, False, False),
    ("indent", "table", TABLE, False, True),
    ("compare", "results", "the folder of a session's results, or " + TABLE, False, True),
    ("info", "file", "path of a file", False, False),
)
HEAD = '''# SPDX-License-Identifier: GPL-3.0-or-later
# Made by generate.py from the option tables of libmroscope: change those, and run it again.
"""The verbs of mroscope as functions."""

from __future__ import annotations

import os
from typing import Any, Iterable, Literal, Mapping, Sequence

from ._run import measure
from .result import Result

'''
PAGE = """<!-- Made by tools/python/generate.py from the docstrings: change those, and run it again. -->
# Functions of the Python package

[python.md](python.md) is the manual; this page lists what there is. Functions return a `Result`.
"""
DETAILS = (
    "also keep maps, tables and figures in the result, as the program writes them with -o DIR; by default for a single "
    "image, and not for stacks or with output"
)


def annotation(o: Option) -> str:
    if o.kind == "flag":
        return "bool"
    kinds = {
        "number": "float",
        "integer": "int",
        "band": "Sequence[float]",
        "numbers": "Sequence[float]",
        "line": "Sequence[float]",
        "pixel": "float | Sequence[float]",
        "size": "int | str",
        "frames": "int | str | Iterable[int]",
        "texts": "Mapping[str, Any] | Sequence[str]" if "FILE" in o.arg else "str | Sequence[str | Sequence[float]]",
    }
    if o.kind == "choice":
        kind = "Literal[" + ", ".join(f'"{w}"' for w in o.arg.split("|")) + "]"
    elif o.is_file:
        kind = "Any"
    elif o.kind == "text":
        kind = "str | Mapping[str, float] | Sequence[str]" if o.arg == "LIST" else "str | os.PathLike[str]"
        kind = "str | os.PathLike[str] | Sequence[float]" if o.name == "values" else kind
    else:
        kind = kinds[o.kind]
    return kind if kind == "Any" else f"{kind} | None"


def wrapped(text: str, indent: int) -> str:
    return textwrap.fill(
        text, 116, initial_indent=" " * indent, subsequent_indent=" " * indent, break_on_hyphens=False
    )


def function(verb: str, what: str, may_be: str, optional: bool, table: bool) -> str:
    known = options(verb)
    named = by_name(verb)
    details = verb != "info"
    lines = [f"def {verb}("]
    lines.append(f"    {what}: Any = None," if optional else f"    {what}: Any,")
    lines.append("    *,")
    for o in known.values():
        default = "False" if o.kind == "flag" else "None"
        lines.append(f"    {o.keyword}: {annotation(o)} = {default},")
    if details:
        lines.append("    details: bool | None = None,")
    lines.append(") -> Result:")
    about = in_python(describe(verb)["about"], named)
    lines.append('    """' + wrapped(about, 4).lstrip())
    lines.append("\n    Parameters\n    ----------")
    lines.append(f"    {what}\n{wrapped(may_be, 8)}")
    for o in known.values():
        choice = ": " + ", ".join(o.arg.split("|")) if o.kind == "choice" else ""
        unit = f" [{o.unit}]" if o.unit else ""
        lines.append(f"    {o.keyword}\n{wrapped(in_python(o.help, named) + choice + unit + o.default, 8)}")
    if details:
        lines.append(f"    details\n{wrapped(DETAILS, 8)}")
    lines.append('    """')
    lines.append("    given = dict(locals())")
    lines.append(f'    given.pop("{what}")')
    last = ", given.pop(\"details\")" if details else ", False"
    lines.append(f'    return measure("{verb}", {what}, given{last}{", table=True" if table else ""})')
    return "\n".join(lines) + "\n"


def documented(tree: ast.Module, name: str, module: str = "") -> str:
    """Signature and docstring of a function, or of a class with its methods and properties."""
    node = next(n for n in tree.body if isinstance(n, (ast.FunctionDef, ast.ClassDef)) and n.name == name)
    if isinstance(node, ast.FunctionDef):
        text = ast.get_docstring(node) or ""
        about, _, parameters = text.partition("Parameters\n----------\n")
        parameters, _, returns = parameters.partition("Returns\n-------\n")
        rows = re.findall(r"^(\S+)\n((?:    .*\n?)+)", parameters + "\n", re.M)
        lines = [f"## {module}{name}\n", " ".join(about.split()), "\n| argument | |\n|---|---|"]
        lines += ["| `{}` | {} |".format(key, " ".join(value.split()).replace("|", "\\|")) for key, value in rows]
        lines += ["\n" + " ".join(returns.split()[1:])] if returns else []
        return "\n".join(lines) + "\n"
    lines = [f"## {module}{name}\n", " ".join((ast.get_docstring(node) or "").split()) + "\n"]
    for item in node.body:
        if isinstance(item, ast.FunctionDef) and not item.name.startswith("_"):
            is_property = any(getattr(d, "id", "") == "property" for d in item.decorator_list)
            call = "" if is_property else f"({', '.join(a.arg for a in item.args.args[1:])})"
            lines.append(f"- `{item.name}{call}`: {' '.join((ast.get_docstring(item) or '').split())}")
    return "\n".join(lines).rstrip() + "\n"


def page(verbs: str) -> str:
    """All docstrings as one page."""
    source = HERE / "src" / "mroscope"

    def tree(name: str) -> ast.Module:
        return ast.parse((source / name).read_text(encoding="utf-8"))

    made = ast.parse(verbs)
    parts = [documented(made, verb) for verb, *_ in VERBS]
    parts.append(documented(tree("reading.py"), "read"))
    parts += [documented(tree("image.py"), name) for name in ("Image", "Axis")]
    parts += [documented(tree("result.py"), name) for name in ("Result", "Record")]
    on_clusters = tree("distributed.py")
    parts += [documented(on_clusters, name, "distributed.") for name in ("batch", "map_frames", "Session", "ClusterError")]
    errors = tree("errors.py")
    listed = [n for n in errors.body if isinstance(n, ast.ClassDef)]
    parts.append("## errors\n\n" + "".join(f"- `{n.name}`: {ast.get_docstring(n)}\n" for n in listed))
    return PAGE + "\n" + "\n".join(parts)


def main() -> int:
    verbs = HEAD + "\n" + "\n\n".join(function(*v) for v in VERBS)
    files = {HERE / "src" / "mroscope" / "verbs.py": verbs, HERE.parents[1] / "docs" / "python_api.md": page(verbs)}
    for path, text in files.items():
        if "--check" not in sys.argv:
            path.write_text(text, encoding="utf-8")
        elif path.read_text(encoding="utf-8") != text:
            print(f"{path.name} is not what tools/python/generate.py makes; run it", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
