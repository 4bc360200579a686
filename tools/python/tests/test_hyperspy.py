# SPDX-License-Identifier: GPL-3.0-or-later
"""HyperSpy signals in and out. The first tests use stand-ins with the same attributes, and need no HyperSpy."""

from types import SimpleNamespace

import numpy as np
import pytest

import mroscope
from conftest import bandpass, numbers
from mroscope._run import Run
from mroscope.hyperspy import from_signal
from mroscope.reading import images


def signal(array, units="nm", scale=0.05, metadata=None, signal_dimension=2):
    """What mroscope looks at of a Signal2D."""

    def axis(name, size):
        return SimpleNamespace(name=name, size=size, scale=scale, offset=0.0, units=units, is_uniform=True)

    ny, nx = array.shape[-2:]
    return SimpleNamespace(
        data=array,
        metadata=SimpleNamespace(as_dictionary=lambda: metadata or {}),
        axes_manager=SimpleNamespace(
            signal_dimension=signal_dimension,
            signal_axes=(axis("x", nx), axis("y", ny)),
            navigation_axes=tuple(axis("i", n) for n in array.shape[:-2][::-1]),
        ),
    )


@pytest.mark.parametrize(
    "units, scale",
    [("nm", 0.05), ("Å", 0.5), ("A", 0.5), ("µm", 5e-5), ("um", 5e-5), ("μm", 5e-5), ("m", 5e-11), ("pm", 50)],
)
def test_units_of_length(units, scale, noise):
    result = bandpass(signal(noise, units, scale))
    assert result.pixel_nm == pytest.approx((0.05, 0.05), rel=1e-12)
    assert result.calibration == "axes of the array"


@pytest.mark.parametrize("units, step", [("1/nm", 0.06), ("1/Å", 0.006), ("nm^-1", 0.06), ("Å⁻¹", 0.006)])
def test_units_of_patterns(units, step, noise):
    run = Run()
    run.lend_image("pattern", from_signal(signal(noise, units, step)))
    entry = images(run, "pattern")[0]
    assert entry["kind"] == "diffraction" and entry["unit"] == ["1/nm"] * 2
    assert entry["pixel_size"] == pytest.approx([0.06, 0.06])


@pytest.mark.parametrize("units", [None, "", "px", "<undefined>", object()])
def test_no_units_are_refused(units, noise):
    with pytest.raises(mroscope.errors.CalibrationError, match=r"pixel_nm.*signal_axes.set\(units='nm'"):
        bandpass(signal(noise, units, 1.0))
    assert bandpass(signal(noise, units, 1.0), pixel_nm=0.05).calibration == "command line"


def test_masked_pixels_of_signals_are_left_out(noise):
    masked = np.ma.masked_greater(noise, 190)
    assert numbers(bandpass(signal(masked))) == numbers(bandpass(masked, pixel_nm=0.05))


def test_steps_that_cannot_be_are_refused(noise):
    for scale in (-0.05, 0.0, float("nan")):
        with pytest.raises(mroscope.errors.ArgumentError, match="has to be above 0. Turn the data round"):
            bandpass(signal(noise, scale=scale))


def test_strange_units_are_refused(noise):
    with pytest.raises(mroscope.errors.CalibrationError, match="in 's'; a measurement needs a length"):
        bandpass(signal(noise, "s"))
    with pytest.raises(mroscope.errors.ArgumentError, match="1 signal axes"):
        bandpass(signal(noise, signal_dimension=1))


def test_metadata_of_the_microscope_are_used(noise):
    metadata = {"General": {"title": "glass"}, "Acquisition_instrument": {"TEM": {"beam_energy": 200.0}}}
    image = from_signal(signal(noise, metadata=metadata))
    assert image.title == "glass"
    run = Run()
    run.lend_image("image", image)
    assert images(run, "image")[0]["beam_kv"] == 200


def test_signals_of_hyperspy(noise):
    hs = pytest.importorskip("hyperspy.api")
    s = hs.signals.Signal2D(np.stack([noise, 2 * noise]))
    s.metadata.General.title = "glass"
    s.metadata.set_item("Sample.description", "as cast")
    with pytest.raises(mroscope.errors.CalibrationError, match="signal_axes.set"):
        bandpass(s)
    s.axes_manager.signal_axes.set(units="Å", scale=0.5)
    result = bandpass(s, details=True)
    plain = bandpass(noise, pixel_nm=0.05)
    assert result.parts[0].rms_out == pytest.approx(plain.rms_out, rel=1e-6)
    filtered = result.to_signal("filtered")
    assert filtered.axes_manager.navigation_shape == (2,)
    assert [a.units for a in filtered.axes_manager.signal_axes] == ["nm", "nm"]
    assert filtered.axes_manager.signal_axes[0].scale == pytest.approx(0.05)
    assert filtered.metadata.General.title == "glass filtered"
    assert filtered.metadata.Sample.description == "as cast"
    assert filtered.metadata.mroscope.verb == "bandpass"
    assert numbers(bandpass(s.as_lazy()).parts[1]) == numbers(result.parts[1])
    assert bandpass(s.inav[1]).rms_out == result.parts[1].rms_out
    image = mroscope.Image(noise, (mroscope.Axis("y", 128, 0.05, "nm"), mroscope.Axis("x", 128, 0.05, "nm")))
    assert bandpass(image.to_signal()).rms_out == plain.rms_out


def test_the_signal_type_of_hyperspy(noise):
    hs = pytest.importorskip("hyperspy.api")
    from hyperspy.extensions import ALL_EXTENSIONS

    if "MroscopeSignal2D" not in ALL_EXTENSIONS["signals"]:
        pytest.skip("the package is not installed, so that HyperSpy does not know of it")
    s = hs.signals.Signal2D(noise)
    s.set_signal_type("mroscope")
    assert s.bandpass(pixel_nm=0.05, details=False).rms_out == bandpass(noise, pixel_nm=0.05).rms_out
    assert type(s.as_lazy()).__name__ == "LazyMroscopeSignal2D"
