# SPDX-License-Identifier: GPL-3.0-or-later
"""HyperSpy signals in and out. Nothing here imports HyperSpy but what makes signals."""

from __future__ import annotations

import dataclasses
import re
from typing import TYPE_CHECKING, Any, Sequence

import numpy as np

from .errors import ArgumentError, CalibrationError
from .image import Axis, Image

if TYPE_CHECKING:
    from .result import Result

# Units of length and of 1/length that a signal may have, as the library reads them.
_LENGTHS = ("nm", "Å", "A", "angstrom", "µm", "μm", "um", "micrometer", "pm", "mm", "m")


def _unit(axis: Any) -> str:
    """The unit of an axis as the library reads it; "" when there is none."""
    text = str(axis.units).strip() if isinstance(axis.units, str) else ""
    return "" if text.lower() in ("", "<undefined>", "px", "pixel", "pixels") else text


def _axis(axis: Any, name: str) -> Axis:
    if not getattr(axis, "is_uniform", True):
        raise ArgumentError(f"axis {name} of the signal has steps of different lengths; interpolate it to one step")
    unit = _unit(axis)
    if not unit:
        return Axis(name, int(axis.size))
    return Axis(name, int(axis.size), float(axis.scale), unit, float(axis.offset))


def _length(unit: str) -> str | None:
    """A unit of length, or of 1/length, as the library reads it; None for any other."""
    plain = unit.replace(" ", "")
    inverse = re.fullmatch(r"(?:1?/(?P<under>.+)|(?P<power>.+?)(?:\*\*|\^)?(?:-1|⁻¹|\(-1\)|\{-1\}))", plain)
    if inverse:
        plain = inverse["under"] or inverse["power"]
    if plain not in _LENGTHS:
        return None
    return f"1/{plain}" if inverse else plain


def from_signal(signal: Any) -> Image:
    """The Image of a Signal2D, lazy or not: frames are its navigation axes. A step is known where the axis has a unit
    of length, or of 1/length in a diffraction pattern."""
    manager = signal.axes_manager
    if manager.signal_dimension != 2:
        raise ArgumentError(
            f"the signal has {manager.signal_dimension} signal axes and an image has 2; see signal.as_signal2D and "
            "signal.transpose"
        )
    navigation, plane = manager.navigation_axes[::-1], manager.signal_axes[::-1]
    axes = [_axis(a, str(a.name) if isinstance(a.name, str) else f"axis {i}") for i, a in enumerate(navigation)]
    for name, axis in zip("yx", plane):
        found = _axis(axis, name)
        unit = _length(found.unit)
        if found.step is not None and unit is None:
            raise CalibrationError(
                f"axis {name} of the signal is in '{found.unit}'; a measurement needs a length (nm, Å, µm, m) or "
                "one over a length (1/nm, 1/Å): signal.axes_manager.signal_axes.set(units='nm', scale=0.02)"
            )
        axes.append(dataclasses.replace(found, unit=unit or ""))
    data = signal.data.compute() if hasattr(signal.data, "compute") else signal.data
    metadata = signal.metadata.as_dictionary()
    microscope = metadata.get("Acquisition_instrument", {}).get("TEM", {})
    energy = microscope.get("beam_energy")
    title = str(metadata.get("General", {}).get("title") or "")
    return Image(
        np.asanyarray(data), tuple(axes), title, float(energy) if energy else None, None, {"signal": metadata}
    )


def unit_missing(value: Any) -> bool:
    """Whether a value is a signal whose image axes have no unit."""
    if not hasattr(value, "axes_manager"):
        return False
    return any(not _unit(a) for a in value.axes_manager.signal_axes)


def _signal(array: Any, axes: Sequence[Axis], metadata: dict[str, Any]) -> Any:
    from hyperspy.signals import Signal2D

    described = [
        {
            "name": a.name,
            "size": a.size,
            "navigate": i < len(axes) - 2,
            **({} if a.step is None else {"scale": a.step, "units": a.unit, "offset": a.offset}),
        }
        for i, a in enumerate(axes)
    ]
    return Signal2D(np.array(array), axes=described, metadata=metadata)


def image_to_signal(image: Image) -> Any:
    """An Image as a HyperSpy signal, with what is known of it in the places of HyperSpy's tree."""
    metadata: dict[str, Any] = dict(image.metadata.get("signal", {}))
    if "signal" not in image.metadata:
        general: dict[str, Any] = {"title": image.title}
        if image.path:
            general["original_filename"] = image.path
        microscope = {
            "beam_energy": image.beam_kv,
            "magnification": image.metadata.get("magnification"),
            "camera_length": image.metadata.get("camera_length_mm"),
            "microscope": image.metadata.get("instrument"),
        }
        metadata = {"General": general}
        known = {k: v for k, v in microscope.items() if v}
        if known:
            metadata["Acquisition_instrument"] = {"TEM": known}
    return _signal(image.array, image.axes, metadata)


def to_signal(images: Sequence[Image], name: str, result: Result) -> Any:
    """Maps of one result (of each frame, for a stack) as one signal."""
    metadata: dict[str, Any] = dict(result._metadata or {})
    general = dict(metadata.get("General", {}))
    general["title"] = f"{general.get('title') or result._data.get('file') or ''} {name}".strip()
    metadata["General"] = general
    metadata.pop("_HyperSpy", None)
    metadata["mroscope"] = {"verb": result._verb, "result": result.to_dict()}
    if len(images) == 1:
        return _signal(images[0].array, images[0].axes, metadata)
    if any(i.shape != images[0].shape for i in images):
        raise ArgumentError(f"the frames have maps '{name}' of different shapes; see .parts")
    axes = (Axis("frame", len(images)), *images[0].axes)
    return _signal(np.stack([i.array for i in images]), axes, metadata)
