# SPDX-License-Identifier: GPL-3.0-or-later
"""The signal type "mroscope" of HyperSpy: images and patterns that can be measured by their own methods."""

from __future__ import annotations

from typing import Any

from hyperspy._signals.lazy import LazySignal
from hyperspy.signals import Signal2D

from . import verbs
from .result import Result


class MroscopeSignal2D(Signal2D):  # type: ignore[misc]
    """A Signal2D with the verbs of mroscope as methods: ``signal.mro(kv=200)`` is ``mroscope.mro(signal, kv=200)``."""

    _signal_type = "mroscope"

    def mro(self, **options: Any) -> Result:
        """See :func:`mroscope.mro`."""
        return verbs.mro(self, **options)

    def bandpass(self, **options: Any) -> Result:
        """See :func:`mroscope.bandpass`."""
        return verbs.bandpass(self, **options)

    def haadf(self, **options: Any) -> Result:
        """See :func:`mroscope.haadf`."""
        return verbs.haadf(self, **options)

    def pdf(self, **options: Any) -> Result:
        """See :func:`mroscope.pdf`."""
        return verbs.pdf(self, **options)

    def lattice(self, **options: Any) -> Result:
        """See :func:`mroscope.lattice`."""
        return verbs.lattice(self, **options)

    def shearband(self, **options: Any) -> Result:
        """See :func:`mroscope.shearband`."""
        return verbs.shearband(self, **options)


class LazyMroscopeSignal2D(LazySignal, MroscopeSignal2D):  # type: ignore[misc]
    """The same for a lazy signal, whose data are computed when they are measured."""
