# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong, each with one sentence that says what to do."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any, Mapping, Sequence

if TYPE_CHECKING:
    from ._options import Option


class MroscopeError(Exception):
    """Base of all errors of mroscope. ``results`` holds what was finished before."""

    def __init__(self, message: str, results: Sequence[Any] = ()) -> None:
        super().__init__(message)
        self.results = tuple(results)


class ArgumentError(MroscopeError, ValueError):
    """An argument that cannot work."""


class FileError(MroscopeError, OSError):
    """The system refused to open, read or write a file."""


class FormatError(MroscopeError, ValueError):
    """A file is not what it claims to be, or of a kind that is not read."""


class CalibrationError(MroscopeError, ValueError):
    """A calibration that the measurement needs is unknown."""


class OutOfMemoryError(MroscopeError, MemoryError):
    """The memory budget, or the machine's memory, does not suffice."""


class DeviceError(MroscopeError, RuntimeError):
    """A compute device is missing or failed."""


class DataError(MroscopeError, ValueError):
    """The image can be read, but there is nothing in it to measure."""


class InternalError(MroscopeError, RuntimeError):
    """A mistake in mroscope itself; please report it."""


# In the order of enum mro_code, from 1.
CLASSES = (
    ArgumentError,
    FileError,
    FormatError,
    CalibrationError,
    OutOfMemoryError,
    DeviceError,
    DataError,
    InternalError,
)


# Of enum mro_lack: those for which the units of a signal help as well.
PIXEL_SIZE = (1, 2)


def in_python(sentence: str, options: Mapping[str, Option]) -> str:
    """A sentence of the library, which calls options `s_max` or `unit=GPa`, with the keyword arguments of those that
    `options` has by their names on the command line, and verbs, `mroscope lattice`, by those of their functions. What
    only stands for a value, as KV in `kv=KV`, is left out. Names of files, between single quotes, stay as they are."""

    def name(match: re.Match[str]) -> str:
        verb, word, value = match.groups()
        if verb is not None:
            return f"mroscope.{verb}()" if hasattr(sys.modules[__package__], verb) else f"'mroscope {verb}'"
        if word is None:
            return match.group(0)
        o = options.get(word.replace("_", "-"))
        if o is None:
            return word if value is None else f"{word}={value}"
        if o.kind == "flag":
            return f"{o.keyword}=True"
        return o.keyword if value in (None, o.arg) else f"{o.keyword}={value!r}"

    quoted = r"(?<![A-Za-z0-9])'.*?'(?![A-Za-z0-9])"
    return re.sub(quoted + r"|`mroscope ([a-z]+)`|`([a-z][a-z0-9_-]*)(?:=([^`]*))?`", name, sentence, flags=re.DOTALL)


def error_of(code: int, message: str, results: Sequence[Any], options: Mapping[str, Option]) -> MroscopeError:
    """The exception for a code of the library."""
    kind = CLASSES[code - 1] if 0 < code <= len(CLASSES) else MroscopeError
    return kind(in_python(message, options), results)
