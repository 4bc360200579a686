# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of microscopes as images."""

from __future__ import annotations

import operator
import os
from typing import Any, Iterable, SupportsIndex

import numpy as np
import numpy.typing as npt

from ._library import ffi, lib
from ._run import Run
from .errors import ArgumentError
from .image import Axis, Image, axes_of, file_state

_COLOUR = {"rgb8": ("uint8", 3), "rgba8": ("uint8", 4), "rgb16": ("uint16", 3), "rgba16": ("uint16", 4)}


def _frame(run: Run, path: str, image: int, frame: int, out: npt.NDArray[Any]) -> None:
    buffer = ffi.from_buffer(out, require_writable=True)
    run.check(lib.mro_run_read(run.handle, os.fsencode(path), image, frame, buffer, out.nbytes))


def images(run: Run, path: str) -> list[dict[str, Any]]:
    """What the verb info says of the images of a file, without their pixels."""
    run.argument("--header")
    run.argument("--")
    run.argument(path)
    run.check(run.start("info"))
    listed: list[dict[str, Any]] = run.results()[0]["images"]
    return listed


def read(
    path: str | os.PathLike[str], image: int | None = None, frames: int | Iterable[int] | None = None
) -> Image:
    """Reads an image of a file of any format that mroscope reads: TIFF, DM3, DM4, MRC, SER, EMI, Velox and Berkeley
    EMD, PNG, JPEG.

    Parameters
    ----------
    path
        the file
    image
        which of its images, from 0; by default the first that is no spectrum. ``mroscope.info(path).images`` lists them
    frames
        which frames of a stack, from 0; by default all

    Returns
    -------
    Image
        Pixels of the type that they are stored in (colour as luminance), not writable, so that they stay those of the
        file; ``image.array.copy()`` may be changed. Axes in nm, 1/nm or whatever the file gives; a step that the file
        does not say is None.
    """
    path = os.fspath(path)
    before = file_state(path)
    run = Run()
    listed = images(run, path)
    if image is None:
        image = next((i["index"] for i in listed if i["kind"] != "spectrum"), 0)
    if not 0 <= image < len(listed):
        raise ArgumentError(f"'{path}' has no image {image}: it holds {len(listed)}, counted from 0")
    entry = listed[image]
    found = pixels_of(run, path, entry, frames)
    axes = list(axes_of(entry))
    whole = frames is None and len(listed) == 1
    if found.ndim < len(axes):  # one frame
        axes = axes[-2:]
    elif found.shape != tuple(entry["shape"]):  # some frames
        axes = [Axis("frame", len(found)), *axes[-2:]]
    metadata = {k: v for k, v in entry.items() if k not in ("index", "shape", "dtype", "pixel_size", "unit", "offset")}
    made = Image(found, tuple(axes), entry.get("title") or "", entry.get("beam_kv"), path, metadata)
    if whole:
        object.__setattr__(made, "_file_state", before)
    return made


def pixels_of(
    run: Run, path: str, entry: dict[str, Any], frames: int | Iterable[int] | None = None
) -> npt.NDArray[Any]:
    """Pixels of an image of a file or of lent bytes."""
    shape = tuple(entry["shape"])
    plane, count = shape[-2:], int(np.prod(shape[:-2], dtype=np.int64))
    if isinstance(frames, SupportsIndex):
        frames = operator.index(frames)
    wanted = range(count) if frames is None else [frames] if isinstance(frames, int) else list(frames)
    if any(not 0 <= k < count for k in wanted) or len(wanted) == 0:
        raise ArgumentError(f"'{path}' has {count} frames, counted from 0; frames is {frames!r}")
    dtype, channels = _COLOUR.get(entry["dtype"], (entry["dtype"], 1))
    stored = np.empty((len(wanted), *plane, channels), dtype)
    for k, frame in enumerate(wanted):
        _frame(run, path, entry["index"], frame, stored[k])
    if channels > 1:  # luminance, ITU-R BT.601
        found = stored[..., :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
    else:
        found = stored[..., 0]
    found = found[0] if isinstance(frames, int) or count == 1 else found
    if frames is None:
        found = found.reshape(shape)
    found.flags.writeable = False
    return found


def image_of_bytes(name: str, data: bytes) -> Image:
    """The image in a file in memory."""
    run = Run()
    run.lend_bytes(name, data)
    entry = images(run, name)[0]
    return Image(pixels_of(run, name, entry), tuple(axes_of(entry)), name.rsplit(".", 1)[0])
