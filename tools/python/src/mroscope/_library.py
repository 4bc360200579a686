# SPDX-License-Identifier: GPL-3.0-or-later
"""libmroscope, loaded through its own header."""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path
from typing import Any

from cffi import FFI

_HERE = Path(__file__).resolve().parent
_NAME = "libmroscope.dylib" if sys.platform == "darwin" else "libmroscope.so"


def _prototypes(header: str) -> str:
    """What cffi reads of include/mroscope/run.h: no comments, no preprocessor."""
    text = re.sub(r"/\*.*?\*/", "", header, flags=re.S)
    text = re.sub(r"^#ifdef __cplusplus.*?^#endif", "", text, flags=re.S | re.M)
    return re.sub(r"^#.*$", "", text, flags=re.M)


def _load() -> tuple[Any, Any, Path]:
    path, header = _HERE / _NAME, _HERE / "run.h"
    if not header.exists():  # a checkout, and a library that was built in it
        path, header = _HERE.parents[3] / "build" / _NAME, _HERE.parents[3] / "include" / "mroscope" / "run.h"
    path = Path(os.environ.get("MROSCOPE_LIBRARY") or path)
    if not path.exists() or not header.exists():
        raise ImportError(
            f"mroscope: '{path}' is missing; install the package with 'pip install ./tools/python', "
            "or name the library of a build in MROSCOPE_LIBRARY"
        )
    ffi = FFI()
    ffi.cdef(_prototypes(header.read_text(encoding="utf-8")))
    # Threads that wait should sleep; OpenMP looks when it is loaded. By default they spin, and on a shared machine
    # take the processor from the thread that is waited for. They spin for as long as it takes to wake them.
    quiet = {"OMP_WAIT_POLICY": "passive", "GOMP_SPINCOUNT": "2000"}
    quiet = {} if "OMP_WAIT_POLICY" in os.environ else {k: v for k, v in quiet.items() if k not in os.environ}
    os.environ.update(quiet)
    try:
        lib = ffi.dlopen(str(path))
    finally:
        for name in quiet:
            del os.environ[name]
    return ffi, lib, path


ffi, lib, path = _load()


def text(pointer: Any) -> str:
    """A C string."""
    return bytes(ffi.string(pointer)).decode("utf-8", "replace")


__version__ = text(lib.mro_run_version())
__commit__ = text(lib.mro_run_commit())
