# SPDX-License-Identifier: GPL-3.0-or-later
"""Image analysis for metallic glasses in the transmission electron microscope."""

from typing import Any

from . import errors
from ._library import __commit__, __version__
from ._run import measure
from .errors import MroscopeError
from .image import Axis, Image
from .result import Record, Result


def mro(image: Any, *, details: "bool | None" = None, **options: Any) -> Result:
    """Medium-range order of a micrograph."""
    return measure("mro", image, options, details)


__all__ = ["Axis", "Image", "MroscopeError", "Record", "Result", "errors", "mro", "__commit__", "__version__"]
