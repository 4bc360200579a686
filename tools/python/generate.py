#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes src/mroscope/verbs.py: the functions of the package, with signatures and docstrings made of the option tables
that libmroscope gives. Run it after an option was added or changed; a test says when that was forgotten.

    MROSCOPE_LIBRARY=build/libmroscope.so python3 tools/python/generate.py [--check]"""

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

from mroscope._options import Option, describe, options  # noqa: E402

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
        "texts": "str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Mapping[str, Any]",
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


def in_python(text: str, keyword: "dict[str, str]") -> str:
    return re.sub(r"--([a-z][a-z-]*[a-z]|[a-z])", lambda m: keyword.get(m.group(1), m.group(0)), text)


def wrapped(text: str, indent: int) -> str:
    return textwrap.fill(
        text, 116, initial_indent=" " * indent, subsequent_indent=" " * indent, break_on_hyphens=False
    )


def function(verb: str, what: str, may_be: str, optional: bool, table: bool) -> str:
    known = options(verb)
    keyword = {o.name: o.keyword for o in known.values()}
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
    about = in_python(describe(verb)["about"], keyword)
    lines.append('    """' + wrapped(about, 4).lstrip())
    lines.append("\n    Parameters\n    ----------")
    lines.append(f"    {what}\n{wrapped(may_be, 8)}")
    for o in known.values():
        choice = ": " + ", ".join(o.arg.split("|")) if o.kind == "choice" else ""
        unit = f" [{o.unit}]" if o.unit else ""
        lines.append(f"    {o.keyword}\n{wrapped(in_python(o.help, keyword) + choice + unit + o.default, 8)}")
    if details:
        lines.append(f"    details\n{wrapped(DETAILS, 8)}")
    lines.append('    """')
    lines.append("    given = dict(locals())")
    lines.append(f'    given.pop("{what}")')
    last = ", given.pop(\"details\")" if details else ", False"
    lines.append(f'    return measure("{verb}", {what}, given{last}{", table=True" if table else ""})')
    return "\n".join(lines) + "\n"


def main() -> int:
    text = HEAD + "\n" + "\n\n".join(function(*v) for v in VERBS)
    path = HERE / "src" / "mroscope" / "verbs.py"
    if "--check" in sys.argv:
        if path.read_text(encoding="utf-8") == text:
            return 0
        print(f"{path.name} is not what generate.py makes of the options; run it", file=sys.stderr)
        return 1
    path.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
