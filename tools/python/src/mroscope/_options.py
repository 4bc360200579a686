# SPDX-License-Identifier: GPL-3.0-or-later
"""The options of the verbs as keyword arguments. Names, kinds, units and defaults are those of the library's own
tables, which the program parses its command line with; nothing is said twice here."""

from __future__ import annotations

import functools
import json
import numbers
import operator
import os
from dataclasses import dataclass
from typing import Any, Iterable, Mapping

from ._library import lib, text
from .errors import ArgumentError, error_of

# How a unit ends a name, as in the results: pixel_nm, band_inv_nm, density_per_nm3.
_SUFFIX = {
    "nm": "nm",
    "1/nm": "inv_nm",
    "mm": "mm",
    "um": "um",
    "kV": "kv",
    "A": "A",
    "1/A": "inv_A",
    "A^2": "A2",
    "px": "px",
    "atoms per nm^3": "per_nm3",
    "standard deviations": "sd",
}
_NUMERIC = ("number", "band", "pixel", "numbers", "line")
_HIDDEN = ("json", "quiet")


@dataclass(frozen=True)
class Option:
    """A keyword argument of a verb."""

    keyword: str
    name: str  # on the command line
    kind: str
    arg: str
    unit: str
    help: str
    default: str
    group: str

    @property
    def is_file(self) -> bool:
        """Whether it names a file, so that an image or an array can be given as well."""
        return self.kind == "text" and self.arg in ("FILE", "MASK")


def _keyword(name: str, kind: str, unit: str) -> str:
    word = name.replace("-", "_")
    suffix = _SUFFIX.get(unit, "") if kind in _NUMERIC else ""
    return word if not suffix or word == suffix else f"{word}_{suffix}"


@functools.lru_cache(maxsize=None)
def describe(verb: str) -> dict[str, Any]:
    """What the library says of a verb: about, notes, operands, options."""
    run = lib.mro_run_new()
    try:
        lib.mro_run_argument(run, b"--help")
        code = lib.mro_run_start(run, verb.encode())
        if code:
            raise error_of(code, text(lib.mro_run_message(run)), (), {})
        described: dict[str, Any] = json.loads(text(lib.mro_run_result(run, 0)))
        return described
    finally:
        lib.mro_run_free(run)


@functools.lru_cache(maxsize=None)
def options(verb: str) -> Mapping[str, Option]:
    """The keyword arguments of a verb, in the order of its help."""
    found = {}
    for o in describe(verb)["options"]:
        if o["name"] in _HIDDEN:
            continue
        keyword = _keyword(o["name"], o["kind"], o["unit"])
        found[keyword] = Option(
            keyword, o["name"], o["kind"], o["arg"] or "", o["unit"], o["help"], o["default"], o["group"]
        )
    return found


def by_name(verb: str) -> Mapping[str, Option]:
    """The same by their names on the command line."""
    return {o.name: o for o in options(verb).values()}


def _number(o: Option, value: Any) -> str:
    try:
        if isinstance(value, bool) or not isinstance(value, numbers.Real) and not hasattr(value, "__float__"):
            raise TypeError
        written = repr(float(value))
    except (TypeError, ValueError, OverflowError):
        raise ArgumentError(f"{o.keyword} wants a number, not {value!r}") from None
    return written[:-2] if written.endswith(".0") else written


def _numbers(o: Option, value: Any, scalar: bool) -> str:
    if scalar and not isinstance(value, Iterable):
        return _number(o, value)
    if isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        wanted = "a number, or two (x, y)," if scalar else f"numbers such as ({o.arg}),"
        raise ArgumentError(f"{o.keyword} wants {wanted} not {value!r}")
    return ",".join(_number(o, v) for v in value)


def _frames(o: Option, value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        wanted = [int(v) for v in (value if isinstance(value, Iterable) else [value])]
    except (TypeError, ValueError):
        raise ArgumentError(f"{o.keyword} wants numbers of frames such as range(0, 10), not {value!r}") from None
    if not wanted:
        raise ArgumentError(f"{o.keyword} is empty: no frame would be measured")
    ranges: list[list[int]] = []
    for k in sorted(set(wanted)):
        if ranges and ranges[-1][1] + 1 == k:
            ranges[-1][1] = k
        else:
            ranges.append([k, k])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in ranges)


def _is_vector(value: Any) -> bool:
    """Whether a value is a row of numbers, such as a wave vector."""
    return isinstance(value, Iterable) and not isinstance(value, str) and all(hasattr(v, "__float__") for v in value)


def arguments(o: Option, value: Any) -> list[str]:
    """An option as the program would be given it. Files are not looked at here."""
    if o.kind == "flag":
        if not isinstance(value, (bool, int)) or value not in (0, 1):
            raise ArgumentError(f"{o.keyword} is True or False, not {value!r}")
        return [f"--{o.name}"] if value else []
    if o.kind == "number":
        written = _number(o, value)
    elif o.kind == "integer":
        try:
            written = str(operator.index(value))
        except TypeError:
            raise ArgumentError(f"{o.keyword} wants a whole number, not {value!r}") from None
    elif o.kind in ("band", "numbers", "line", "pixel"):
        written = _numbers(o, value, o.kind == "pixel")
    elif o.kind == "frames":
        written = _frames(o, value)
    elif o.kind == "size" and hasattr(value, "__index__"):
        written = str(operator.index(value))
    elif o.kind == "texts":
        several = [value] if isinstance(value, (str, os.PathLike)) or _is_vector(value) else list(value)
        return [f"--{o.name}={_numbers(o, v, False) if _is_vector(v) else os.fspath(v)}" for v in several]
    elif isinstance(value, Mapping):  # Cliff-Lorimer factors
        written = ",".join(f"{k}={_number(o, v)}" for k, v in value.items())
    elif isinstance(value, (str, os.PathLike)):
        written = os.fspath(value)
    elif isinstance(value, Iterable):
        written = ",".join(str(v) for v in value)
    else:
        raise ArgumentError(f"{o.keyword} wants {o.arg}, not {value!r}")
    return [f"--{o.name}={written}"]


def nearest(word: str, names: Iterable[str]) -> str | None:
    """The one of the names that was probably meant."""
    import difflib

    close = difflib.get_close_matches(word, list(names), 1, 0.6)
    return close[0] if close else None
