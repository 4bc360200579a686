# SPDX-License-Identifier: GPL-3.0-or-later
"""What can go wrong, each with one sentence that says what to do."""

from __future__ import annotations

import re
from typing import Any, Mapping, Sequence


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


def in_python(sentence: str, keyword: Mapping[str, str]) -> str:
    """A sentence of the library, whose options get the names they have in Python."""

    def name(match: re.Match[str]) -> str:
        return keyword.get(match.group(1), match.group(0))

    return re.sub(r"--([a-z][a-z-]*[a-z]|[a-z])", name, sentence).replace("-o DIR", "output=DIR")


def error_of(code: int, message: str, results: Sequence[Any], keyword: Mapping[str, str]) -> MroscopeError:
    """The exception for a code of the library."""
    kind = CLASSES[code - 1] if 0 < code <= len(CLASSES) else MroscopeError
    return kind(in_python(message, keyword), results)
