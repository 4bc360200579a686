# SPDX-License-Identifier: GPL-3.0-or-later
"""One run of a verb: what goes in, the thread it runs on, what comes out."""

from __future__ import annotations

import json
import math
import os
import threading
from typing import Any, Mapping

import numpy as np

from . import _options
from ._library import ffi, lib, text
from .errors import PIXEL_SIZE, ArgumentError, error_of, in_python
from .hyperspy import unit_missing
from .image import Image, image_of, pixels, stands_for_image
from .result import Result, collect


class Run:
    """A run of the library, freed when nobody refers to it. Keeps alive what was lent."""

    def __init__(self) -> None:
        self.handle = ffi.gc(lib.mro_run_new(), lib.mro_run_free)
        if self.handle == ffi.NULL:
            raise MemoryError("no memory left to begin")
        self._lent: list[Any] = []
        self.options: Mapping[str, _options.Option] = {}  # by name

    def check(self, code: int) -> None:
        if code:
            raise error_of(code, text(lib.mro_run_message(self.handle)), (), self.options)

    def argument(self, argument: str) -> None:
        if "\0" in argument:
            raise ArgumentError(f"{argument.lstrip('-')!r} holds a zero byte")
        self.check(lib.mro_run_argument(self.handle, os.fsencode(argument)))

    def lend_bytes(self, name: str, data: bytes) -> None:
        pointer = ffi.from_buffer(data)
        self._lent += [data, pointer]
        self.check(lib.mro_run_bytes(self.handle, os.fsencode(name), pointer, len(data)))

    def lend_image(self, name: str, image: Image) -> None:
        array = pixels(image.array, name)
        pointer = ffi.from_buffer(array)
        self._lent += [array, pointer]
        shape = ffi.new("size_t[]", list(array.shape))
        dtype = array.dtype.name.encode()
        self.check(lib.mro_run_array(self.handle, os.fsencode(name), pointer, dtype, array.ndim, shape))
        for i, axis in enumerate(image.axes):
            if axis.step is None:
                continue
            if i + 2 < array.ndim and not (math.isfinite(axis.step) and axis.step > 0):
                continue  # frames may go by anything
            if not (math.isfinite(axis.step) and axis.step > 0):
                raise ArgumentError(
                    f"{name}: the step of axis {axis.name} is {axis.step!r}; it has to be above 0. Turn the data round "
                    "where an axis runs backwards, and set the step"
                )
            self.check(lib.mro_run_axis(self.handle, i, axis.step, axis.offset, axis.unit.encode()))
        if image.beam_kv:
            self.check(lib.mro_run_beam(self.handle, image.beam_kv))

    def start(self, verb: str) -> int:
        """Runs on a thread of its own: the caller's can be interrupted, and a process made by fork gets threads that
        work."""
        code = -1

        def work() -> None:
            nonlocal code
            code = lib.mro_run_start(self.handle, verb.encode())

        thread = threading.Thread(target=work, name=f"mroscope {verb}", daemon=True)
        thread.start()
        try:
            while thread.is_alive():
                thread.join(0.2)
        except BaseException:  # Ctrl-C, or what a signal handler raises
            lib.mro_run_stop(self.handle)
            thread.join()
            raise
        return code

    def results(self) -> list[dict[str, Any]]:
        count = lib.mro_run_results(self.handle)
        return [json.loads(text(lib.mro_run_result(self.handle, i)), object_hook=self._spell) for i in range(count)]

    def _spell(self, data: dict[str, Any]) -> dict[str, Any]:
        """With the options in its sentences called as here."""
        if isinstance(data.get("warnings"), list):
            data["warnings"] = [in_python(w, self.options) for w in data["warnings"]]
        if isinstance(data.get("remark"), str):
            data["remark"] = in_python(data["remark"], self.options)
        return data

    def files(self, result: int) -> dict[str, bytes]:
        size = ffi.new("size_t *")
        found = {}
        for i in range(lib.mro_run_files(self.handle)):
            if lib.mro_run_file_result(self.handle, i) == result:
                data = lib.mro_run_file(self.handle, i, size)
                found[text(lib.mro_run_file_name(self.handle, i))] = bytes(ffi.buffer(data, size[0]))
        return found


def _csv(table: Any) -> bytes:
    """A table of numbers as the library reads it: a data frame with its headers, or rows and columns of values."""
    if hasattr(table, "to_csv"):
        return str(table.to_csv(index=False)).encode()
    array = np.asarray(table)
    if array.ndim != 2 or array.dtype.kind not in "iuf":
        raise ArgumentError(
            f"a table has rows and columns of numbers; this is of shape {array.shape} and type {array.dtype}"
        )
    lines = (",".join("" if v != v else repr(v) for v in row) for row in array.tolist())
    return "\n".join(lines).encode() + b"\n"


def _is_path(value: Any) -> bool:
    return isinstance(value, (str, os.PathLike))


def _lend(run: Run, name: str, value: Any, table: bool) -> str:
    """What stands for an input on the command line: the path, or the name it was lent under."""
    if _is_path(value):
        return str(os.fspath(value))
    if isinstance(value, Image) and value.path and value.is_file():
        return value.path
    if table and not isinstance(value, Image) and not hasattr(value, "axes_manager"):
        name += ".csv"
        run.lend_bytes(name, _csv(value))
    else:
        run.lend_image(name, image_of(value, name))
    return name


def _give_option(run: Run, option: _options.Option, value: Any, table: bool) -> None:
    if option.is_file and not _is_path(value):
        value = _lend(run, option.keyword, value, table)
    elif option.kind == "texts" and isinstance(value, Mapping):
        # {"Fe": image}, or {"Fe,Si": stack}
        value = [f"{key}={_lend(run, 'map ' + key, v, False)}" for key, v in value.items()]
    for argument in _options.arguments(option, value):
        run.argument(argument)


def measure(
    verb: str, inputs: Any, given: Mapping[str, Any], details: bool | None = None, table: bool = False
) -> Result:
    """Runs a verb on one input or several, with its options as keyword arguments."""
    run = Run()
    known = _options.options(verb)
    run.options = _options.by_name(verb)
    if inputs is None:
        if given.get("map") is None:
            raise ArgumentError(f"{verb}() has no {'table' if table else 'image'} to measure: it was given None")
        inputs = []
    elif stands_for_image(inputs) or hasattr(inputs, "to_csv") or not (
        isinstance(inputs, (list, tuple)) and inputs and all(stands_for_image(v) for v in inputs)
    ):
        inputs = [inputs]
    name = "table" if table else "image"
    named = [_lend(run, name if len(inputs) == 1 else f"{name}-{i}", v, table) for i, v in enumerate(inputs)]
    for keyword, value in given.items():
        if keyword not in known:
            near = _options.nearest(keyword, known)
            hint = f"; did you mean {near}?" if near else ""
            raise ArgumentError(f"{verb}() has no option {keyword}{hint}")
        if value is not None:
            _give_option(run, known[keyword], value, table)
    to_folder = given.get("output") is not None
    if to_folder and details:
        raise ArgumentError("output writes maps and figures to a folder, details keeps them in memory: give one")
    lib.mro_run_keep(run.handle, details is not False and not to_folder, details is True)
    run.argument("--")
    for path in named:
        run.argument(path)
    code = run.start(verb)
    found = [Result(verb, data, run.files(i)) for i, data in enumerate(run.results())]
    if code:
        message = text(lib.mro_run_message(run.handle)) + _hint(lib.mro_run_lack(run.handle), inputs)
        raise error_of(code, message, found, run.options)
    whole = collect(verb, found)
    if len(inputs) == 1 and hasattr(inputs[0], "axes_manager"):
        whole._metadata = inputs[0].metadata.as_dictionary()
    return whole


def _hint(lack: int, inputs: list[Any]) -> str:
    """What else helps where a pixel size is missing."""
    if lack not in PIXEL_SIZE or not any(unit_missing(v) for v in inputs):
        return ""
    return ", or the signal its units: signal.axes_manager.signal_axes.set(units='nm', scale=...)"
