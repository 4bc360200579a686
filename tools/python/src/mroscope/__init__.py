# SPDX-License-Identifier: GPL-3.0-or-later
"""Image analysis for metallic glasses in the transmission electron microscope.

Each verb of the program ``mroscope`` is a function of the same name, with the same options as keyword arguments, and
gives the same numbers. They take NumPy arrays, paths of files that mroscope reads, and HyperSpy signals.

>>> import mroscope
>>> image = mroscope.read("image.dm4")
>>> result = mroscope.mro(image, kv=200, cs_mm=1.2)
>>> result.fraction, result.fraction_ci95
"""

from . import errors
from ._library import __commit__, __version__
from .errors import MroscopeError
from .image import Axis, Image
from .reading import read
from .result import Record, Result
from .verbs import bandpass, compare, eds, haadf, indent, info, lattice, mro, pdf, shearband

__all__ = [
    "Axis",
    "Image",
    "MroscopeError",
    "Record",
    "Result",
    "__commit__",
    "__version__",
    "bandpass",
    "compare",
    "eds",
    "errors",
    "haadf",
    "indent",
    "info",
    "lattice",
    "mro",
    "pdf",
    "read",
    "shearband",
]
