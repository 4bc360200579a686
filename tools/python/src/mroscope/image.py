# SPDX-License-Identifier: GPL-3.0-or-later
"""Images with their calibration, read from files or made from arrays and signals."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from .errors import ArgumentError


@dataclass(frozen=True)
class Axis:
    """An axis of an image: value = offset + step * index, in ``unit``. ``step`` None is unknown, never 1."""

    name: str
    size: int
    step: float | None = None
    unit: str = ""
    offset: float = 0.0

    def __repr__(self) -> str:
        calibrated = "not calibrated" if self.step is None else f"{self.step:.6g} {self.unit} a pixel"
        return f"<{self.name}: {self.size}, {calibrated}>"


@dataclass(frozen=True, eq=False, repr=False)
class Image:
    """An image, or a stack of frames, with axes (slowest first; the last two are y and x) and what is known of its
    origin. Functions of mroscope take it wherever they take an array; ``numpy.asarray(image)`` gives its pixels."""

    array: npt.NDArray[Any]
    axes: tuple[Axis, ...]
    title: str = ""
    beam_kv: float | None = None
    path: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    # State of the file at `path` when this image, and nothing else, was read from it. An image that is made of another,
    # as by dataclasses.replace, has none: what was changed in it must count.
    _file_state: tuple[int, ...] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        if self.array.ndim != len(self.axes):
            raise ArgumentError(f"the array has {self.array.ndim} axes, but {len(self.axes)} are described")
        for axis, size in zip(self.axes, self.array.shape):
            if axis.size != size:
                raise ArgumentError(
                    f"axis {axis.name} is described with {axis.size} samples, and the array has {size} along it"
                )

    def is_file(self) -> bool:
        """Whether the file it was read from still holds this image, and nothing else."""
        return self.path is not None and self._file_state is not None and file_state(self.path) == self._file_state

    @property
    def shape(self) -> tuple[int, ...]:
        """Samples along the axes."""
        return self.array.shape

    @property
    def pixel_nm(self) -> tuple[float | None, float | None]:
        """Pixel size along y and x; None where it is unknown or not a length."""
        y, x = self.axes[-2:]
        return (y.step if y.unit == "nm" else None, x.step if x.unit == "nm" else None)

    def to_signal(self) -> Any:
        """The image as a HyperSpy signal with its axes."""
        from .hyperspy import image_to_signal

        return image_to_signal(self)

    def __array__(self, dtype: Any = None, copy: Any = None) -> npt.NDArray[Any]:
        return np.array(self.array, dtype=dtype) if copy else np.asarray(self.array, dtype=dtype)

    def __repr__(self) -> str:
        name = self.title or (os.path.basename(self.path) if self.path else "image")
        axes = ", ".join(repr(a)[1:-1] for a in self.axes)
        energy = f", {self.beam_kv:g} kV" if self.beam_kv else ""
        return f"<mroscope.Image '{name}', {self.array.dtype}; {axes}{energy}>"


def file_state(path: str) -> tuple[int, ...] | None:
    """What changes when a file does."""
    try:
        now = os.stat(path)
    except OSError:
        return None
    return (now.st_dev, now.st_ino, now.st_size, now.st_mtime_ns)


def pixels(value: Any, name: str) -> npt.NDArray[Any]:
    """Pixels as the library reads them: the very array where its type and layout allow, otherwise a copy."""
    if isinstance(value, np.ma.MaskedArray):
        value = np.ma.filled(value.astype(np.float32), np.nan)  # masked = no data there
    array = np.asarray(value)
    kind = array.dtype.kind
    if kind == "O":
        raise ArgumentError(
            f"{name} is an array of Python objects; give numbers, such as {name}.astype('float32'), "
            "with all rows of one length"
        )
    if kind == "c":
        raise ArgumentError(
            f"{name} is complex; give what is to be measured of it, such as abs({name}), or {name}.real"
        )
    if kind == "V" and (array.dtype.names or ())[:3] == ("R", "G", "B"):
        raise ArgumentError(f"{name} is a colour image; give one value a pixel, such as its channel {name}['G']")
    if kind not in "biuf":
        raise ArgumentError(f"{name} holds {array.dtype}, not numbers; give an array of whole numbers or floats")
    if array.ndim < 2:
        raise ArgumentError(
            f"{name} has {array.ndim} dimension{'' if array.ndim == 1 else 's'}; an image has 2 (y, x) and a stack "
            "of frames 3 (frame, y, x)"
        )
    if array.ndim > 6:
        raise ArgumentError(f"{name} has {array.ndim} dimensions; 2 (y, x) to 6 can be read, frames first")
    if array.ndim == 3 and array.shape[-1] in (3, 4):
        raise ArgumentError(
            f"{name} of shape {array.shape} looks like a colour image; give one value a pixel, such as "
            f"{name}.mean(axis=-1), or frames first"
        )
    if array.size == 0:
        raise ArgumentError(f"{name} of shape {array.shape} holds no pixels")
    if kind == "b":
        array = array.view(np.uint8) if array.flags.c_contiguous else array.astype(np.uint8)
    elif kind == "f" and array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def image_of(value: Any, name: str) -> Image:
    """An Image of whatever stands for one: an Image, a HyperSpy signal, an array."""
    if isinstance(value, Image):
        return value
    if hasattr(value, "axes_manager"):
        from .hyperspy import from_signal

        return from_signal(value)
    array = pixels(value, name)
    names = [f"axis {i}" for i in range(array.ndim - 2)] + ["y", "x"]
    return Image(array, tuple(Axis(n, s) for n, s in zip(names, array.shape)))


def stands_for_image(value: Any) -> bool:
    """Whether a value is one input, and not a list of several."""
    return isinstance(value, (str, os.PathLike, Image, np.ndarray)) or hasattr(value, "axes_manager")


def axes_of(entry: Mapping[str, Any]) -> Sequence[Axis]:
    """Axes of an image in a result of the verb info."""
    shape = entry["shape"]
    names = ["y", "x"] if len(shape) > 1 else ["x"]
    names = [f"axis {i}" for i in range(len(shape) - len(names))] + names
    return [
        Axis(n, s, step, unit or "", offset or 0.0)
        for n, s, step, unit, offset in zip(names, shape, entry["pixel_size"], entry["unit"], entry["offset"])
    ]
