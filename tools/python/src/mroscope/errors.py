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


# What to give where something lacks, in the order of enum mro_lack, from 1.
STEPS = (
    "pixel_nm",
    "pixel_nm, or resolution_tags=True if those are the microscope's",
    "step_inv_nm, camera_length_mm with detector_pixel_um and kv, or standard with standard_file",
    "kv",
    "detector_pixel_um (times the binning)",
    "composition, as in composition='Fe82B18'",
    "wavelength_A, or kv with electrons",
    "abscissa: 'Q-A', 'Q-nm', 's-nm', 's-A', 'two-theta' or 'r-A'",
)
PIXEL_SIZE = (1, 2)


def in_python(sentence: str, keyword: Mapping[str, str]) -> str:
    """A sentence of the library, whose options get the names they have in Python, without what stands for their values
    on the command line: kv of "--kv KV", centre_px of "--centre X,Y"."""

    def name(match: re.Match[str]) -> str:
        return keyword.get(match.group(1), match.group(0))

    value = r"(?: [A-Z][A-Z0-9_]*(?:,[A-Z][A-Z0-9_]*)*(?![\w=@:]))?"
    return re.sub(rf"--([a-z][a-z-]*[a-z]|[a-z]){value}", name, sentence).replace("-o DIR", "output=DIR")


def error_of(
    code: int, message: str, results: Sequence[Any], keyword: Mapping[str, str], lack: int = 0, more: str = ""
) -> MroscopeError:
    """The exception for a code of the library, with what to do where something lacks (`more` goes behind that)."""
    kind = CLASSES[code - 1] if 0 < code <= len(CLASSES) else MroscopeError
    step = f"; give {STEPS[lack - 1]}" if lack else ""
    return kind(in_python(message, keyword) + step + more, results)
