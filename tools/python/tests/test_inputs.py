# SPDX-License-Identifier: GPL-3.0-or-later
"""Arrays of any layout and type give the numbers of the plain one; what cannot be measured is refused."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

import mroscope
from conftest import bandpass, numbers
from mroscope._run import measure
from mroscope.image import pixels


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def strided(a):
    wide = np.zeros((a.shape[0], 2 * a.shape[1]), a.dtype)
    wide[:, ::2] = a
    return wide[:, ::2]


LAYOUTS = {
    "big-endian": lambda a: a.astype(">f4"),
    "big-endian whole numbers": lambda a: a.astype(">u2"),
    "columns first": np.asfortranarray,
    "every second column": strided,
    "upside down": lambda a: a[::-1].copy()[::-1],
    "read-only": read_only,
    "float16": lambda a: a.astype(np.float16),
    "float64": lambda a: a.astype(np.float64),
    "long double": lambda a: a.astype(np.longdouble),
    "uint8": lambda a: a.astype(np.uint8),
    "int64": lambda a: a.astype(np.int64),
    "list of lists": lambda a: a.tolist(),
    "matrix of a subclass": lambda a: np.ma.MaskedArray(a),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_and_types_give_the_same_numbers(layout, noise):
    assert numbers(bandpass(LAYOUTS[layout](noise), pixel_nm=0.05)) == numbers(bandpass(noise, pixel_nm=0.05))


def test_bool_is_0_and_1(noise):
    mask = noise > 125
    assert numbers(bandpass(mask, pixel_nm=0.05)) == numbers(bandpass(mask * 1.0, pixel_nm=0.05))


@pytest.mark.parametrize("dtype", ["float32", "float64", "uint8", "uint16", "int16"])
def test_plain_arrays_are_not_copied(dtype, noise):
    array = noise.astype(dtype)
    assert np.shares_memory(pixels(array, "image"), array)
    assert np.shares_memory(pixels(read_only(array[4:20]), "image"), pixels(array, "image")) is False


def test_missing_pixels_are_left_out_and_said(noise):
    noise[3, 5] = np.nan
    noise[9, 9] = np.inf
    result = bandpass(noise, pixel_nm=0.05)
    assert any("2 pixels are not finite" in w for w in result.warnings)
    masked = np.ma.MaskedArray(np.where(np.isfinite(noise), noise, 0), ~np.isfinite(noise))
    assert numbers(bandpass(masked, pixel_nm=0.05)) == numbers(result)
    nothing = mroscope.haadf(np.full((256, 256), np.nan), pixel_nm=0.1, details=False)
    assert nothing.contrast_sd is None and nothing.warnings


REFUSED = {
    "objects": (np.array([[1, None], [2, 3]], object), "array of Python objects"),
    "complex": (np.ones((64, 64), complex), r"complex; give .*abs\(image\)"),
    "text": (np.array([["a", "b"]]), "not numbers"),
    "dates": (np.zeros((4, 4), "M8[s]"), "not numbers"),
    "number": (5.0, "0 dimensions"),
    "row": (np.zeros(64), "1 dimension;"),
    "too many": (np.zeros((1,) * 7), "7 dimensions"),
    "no pixels": (np.zeros((0, 64)), "holds no pixels"),
    "colour": (np.zeros((64, 64, 3), np.uint8), "colour"),
    "colour of HyperSpy": (np.zeros((8, 8), [("R", "u1"), ("G", "u1"), ("B", "u1")]), r"colour image; .*image\['G'\]"),
    "nothing": (None, "has no image to measure: it was given None"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_no_image_is_refused(what):
    value, sentence = REFUSED[what]
    with pytest.raises(mroscope.errors.ArgumentError, match=sentence):
        mroscope.mro(value, pixel_nm=0.02)


def test_rows_of_different_lengths_are_refused():
    with pytest.raises(ValueError):
        mroscope.mro([[1, 2, 3], [4, 5]], pixel_nm=0.02)


def test_without_a_pixel_size_it_says_what_to_give(noise):
    with pytest.raises(mroscope.errors.CalibrationError, match="give pixel_nm"):
        bandpass(noise)


OPTIONS = {
    "pixel": (dict(pixel=0.02), "no option pixel; did you mean pixel_nm"),
    "nonsense": (dict(colour=3), "no option colour"),
    "text for a number": (dict(pixel_nm=0.05, edge_inv_nm="wide"), "edge_inv_nm wants a number, not 'wide'"),
    "a flag for a number": (dict(pixel_nm=True), "pixel_nm wants a number, not True"),
    "out of range": (dict(pixel_nm=-1), "pixel_nm wants a number in nm between"),
    "not a number": (dict(pixel_nm=float("nan")), "pixel_nm wants a length in nm"),
    "band in the wrong order": (dict(pixel_nm=0.05, band_inv_nm=(5, 4)), "band_inv_nm.*wrong order"),
    "band of one": (dict(pixel_nm=0.05, band_inv_nm=[5]), "band_inv_nm wants two limits"),
    "text for a length": (dict(pixel_nm="0.05"), r"pixel_nm wants a number, or two \(x, y\), not '0.05'"),
    "several numbers": (dict(pixel_nm=0.05, edge_inv_nm=np.ones(2)), "edge_inv_nm wants a number, not array"),
    "a zero byte": (dict(pixel_nm=0.05, device="cpu\0"), "'device=cpu.x00' holds a zero byte"),
    "half a number": (dict(pixel_nm=0.05, threads=0.5), "threads wants a whole number"),
    "no such word": (dict(pixel_nm=0.05, reduce="median"), "reduce wants one of none.mean.aligned"),
    "no such frame": (dict(pixel_nm=0.05, frames=[3]), "has no frame 3"),
    "one thing in two ways": (dict(pixel_nm=0.05, band_inv_nm=(4, 5), d_band_nm=(0.2, 0.3)), "in two ways"),
    "no such device": (dict(pixel_nm=0.05, device="abacus"), "unknown device 'abacus'"),
    "two places for maps": (dict(pixel_nm=0.05, output="x", details=True), "give one"),
}


@pytest.mark.parametrize("what", OPTIONS)
def test_options_that_cannot_work_are_refused_by_their_name_in_python(what, noise):
    options, sentence = OPTIONS[what]
    with pytest.raises(mroscope.errors.ArgumentError, match=sentence) as error:
        mroscope.bandpass(noise, **options) if "details" in options else measure("bandpass", noise, options, False)
    assert "--" not in str(error.value)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(OSError, match="No such file"):
        mroscope.mro(tmp_path / "missing.dm4")
    with pytest.raises(mroscope.errors.FileError):
        mroscope.read(tmp_path)
    (tmp_path / "text.tif").write_text("this is no picture")
    with pytest.raises(mroscope.errors.FormatError, match="no image format that is read"):
        mroscope.read(tmp_path / "text.tif")
    (tmp_path / "-odd name.tif").write_text("")
    with pytest.raises(mroscope.errors.FormatError, match="is empty"):
        mroscope.info(tmp_path / "-odd name.tif")


def test_the_next_step_is_a_function(samples):
    with pytest.raises(mroscope.errors.DataError, match=r"patterns are measured with mroscope\.pdf\(\)$"):
        mroscope.mro(samples / "stem" / "saed_glass.tif")


def test_what_was_changed_in_an_image_counts(samples, tmp_path):
    image = mroscope.read(samples / "stem" / "nanocrystal.tif")
    assert bandpass(image).calibration == bandpass(image.path).calibration  # the file itself
    coarse = dataclasses.replace(image, axes=tuple(dataclasses.replace(a, step=2 * a.step) for a in image.axes))
    assert bandpass(coarse, d_band_nm=(0.3, 0.5)).pixel_nm == tuple(2 * p for p in bandpass(image).pixel_nm)
    twice = dataclasses.replace(image, array=image.array * 2.0)
    assert bandpass(twice).rms_in == pytest.approx(2 * bandpass(image).rms_in)
    with pytest.raises(mroscope.errors.ArgumentError, match="described with"):
        dataclasses.replace(image, array=image.array[:64])
    copied = tmp_path / "image.tif"
    copied.write_bytes(Path(image.path).read_bytes())
    read = mroscope.read(copied)
    copied.unlink()
    assert bandpass(read).rms_in == bandpass(image).rms_in


def test_finished_frames_stay_when_a_later_one_fails(noise, tmp_path):
    bad = tmp_path / "bad.tif"
    bad.write_text("nothing")
    image = mroscope.Image(noise, (mroscope.Axis("y", 128, 0.05, "nm"), mroscope.Axis("x", 128, 0.05, "nm")))
    with pytest.raises(mroscope.MroscopeError, match="bad.tif") as error:
        bandpass([image, bad])
    assert [r.rms_in for r in error.value.results] == [bandpass(noise, pixel_nm=0.05).rms_in]
