# SPDX-License-Identifier: GPL-3.0-or-later
"""Every verb gives what the program gives."""

import os
import pickle
import subprocess
import sys

import numpy as np
import pytest

import mroscope
from conftest import ROOT, numbers


def test_a_file_gives_the_very_results_and_files_of_the_program(samples, program, tmp_path):
    path = samples / "AQ_0_corr.tif"
    result = mroscope.mro(path, kv=200, cs_mm=-0.01, surrogates=8, band_inv_nm=(4.0, 5.9), seed=3)
    options = ["--kv=200", "--cs=-0.01", "--surrogates=8", "--band=4,5.9", "--seed=3"]
    assert [result.to_dict()] == program("mro", *options, "-o", tmp_path, path)
    written = {p.name[len("AQ_0_corr.mro.") :]: p.read_bytes() for p in tmp_path.iterdir()}
    del written["json"]
    assert result._files == written
    assert result.maps["score"].shape == result.maps["mask"].shape
    score = result.map("score")
    assert score.pixel_nm == pytest.approx((0.4, 0.4))
    assert len(result.tables["objects"]) == len(result.objects)
    assert result.figure("svg").startswith(b"<?xml") and result.figure().startswith(b"\x89PNG")
    again = pickle.loads(pickle.dumps(result))
    assert again.to_dict() == result.to_dict() and np.array_equal(
        again.maps["mask"], result.maps["mask"], equal_nan=True
    )
    page = result._repr_html_()
    assert "data:image/png;base64," in page and "fraction" in page
    text = repr(result)
    assert f"fraction: {result.fraction:.3f} (95 %: {result.fraction_ci95[0]:.3f} to " in text and "nm" in text
    assert "  p_image: <= 5e-05" in text.splitlines()
    assert text.splitlines()[1].startswith("  verdict: ")


def test_figures_are_as_wide_as_asked_for(samples):
    path = samples / "AQ_0_corr.tif"
    for given, points in (({}, b"510.23"), ({"figure_width_mm": 85}, b"240.94")):
        assert b'width="' + points in mroscope.bandpass(path, **given).figure("svg")[:400]
    with pytest.raises(mroscope.errors.ArgumentError, match="figure_width_mm wants a number in mm between 80 and 190"):
        mroscope.bandpass(path, figure_width_mm=60)


def test_results_as_text():
    """Parts of a result in one line each, errors with their numbers, and what has no value at the end."""
    record = mroscope.Record(
        {
            "elements": {"Fe": {"sd_at": 2.0, "sd_at_ci95": [1.5, 2.5], "wavelength_nm": None, "lags": [1, 2]}},
            "fsdp": {"Q_inv_A": 3.04, "Q_se": 0.01, "Q_systematic": {"centre": 0.1}},
            "crystal": {"d_nm": 0.204289, "d_se_nm": 0.000161},
            "unit": "GPa",
            "mean": 9.4559,
            "mean_ci95": [9.2059, 9.7059],
            "trend": {"mean": {"slope_per_um": 0.0029884, "slope_ci95": [-0.0026, 0.0085], "p": 0.28}},
            "fraction": 0.01,
            "fraction_at_most": {"full": 0.05, "half": 0.19},
            "p_image": 5e-05,
            "p_image_at_most": True,
            "sweep": [],
            "ctf": {"defocus_nm": None},
            "objects": [{"x_nm": 1}],
        }
    )
    assert repr(record).splitlines() == [
        "elements.Fe: sd_at 2.0 at.% (95 %: 1.5 to 2.5), lags 1, 2",
        "fsdp: Q_inv_A 3.040 ± 0.010 Å⁻¹",
        "crystal: d_nm 0.20429 ± 0.00016 nm",
        "unit: GPa",
        "mean: 9.46 GPa (95 %: 9.21 to 9.71)",
        "trend.mean: slope_per_um 0.003 µm⁻¹ (95 %: -0.003 to 0.009), p 0.28",
        "fraction: 0.01",
        "fraction_at_most: full 0.05, half 0.19",
        "p_image: <= 5e-05",
        "objects: 1 of them",
        "without a value: sweep, ctf",
    ]


CASES = {
    "haadf": (dict(surrogates=299), ["--surrogates=299"], "stem/haadf_aged.tif"),
    "eds": (dict(draws=99, k={"Fe": 1, "Si": 0.9}), ["--draws=99", "--k=Fe=1,Si=0.9"], "eds_line.csv"),
    "indent": (dict(unit="GPa", permutations=999), ["--unit=GPa", "--permutations=999"], "stem/hardness_14x14.csv"),
    "compare": (dict(permutations=999), ["--permutations=999"], "states.csv"),
    "lattice": (dict(reference_d_nm=0.2027), ["--reference-d=0.2027"], "stem/nanocrystal.tif"),
    "shearband": (dict(surrogates=99), ["--surrogates=99"], "stem/shearband.tif"),
    "pdf": (
        dict(composition="Fe82B18", density_per_nm3=83, kv=200, draws=50),
        ["--composition=Fe82B18", "--density=83", "--kv=200", "--draws=50"],
        "stem/saed_glass.tif",
    ),
    "info": ({}, [], "stem/saed_mro.tif"),
}


@pytest.mark.parametrize("verb", CASES)
def test_every_verb_gives_the_results_of_the_program(verb, samples, program):
    options, arguments, name = CASES[verb]
    details = {} if verb == "info" else {"details": False}
    result = getattr(mroscope, verb)(samples / name, **options, **details)
    expected = program(verb, *arguments, samples / name)
    given = [r.to_dict() for r in result.parts or [result]]
    for g, e in zip(given, expected):  # the same sentences, but for the names of options
        assert len(g.pop("warnings")) == len(e.pop("warnings"))
    assert given == expected
    for key in expected[0]:  # no attribute hides a key
        assert getattr((result.parts or [result])[0], key) == (result.parts or [result])[0][key]


def test_arrays_give_the_numbers_of_files(samples):
    path = samples / "stem" / "nanocrystal.tif"
    image = mroscope.read(path)
    of_file = mroscope.lattice(path, details=False)
    lent = mroscope.lattice(mroscope.Image(image.array, image.axes), details=False)
    assert numbers(lent) == numbers(of_file)
    assert lent.calibration == "axes of the array"


def test_maps_of_elements_from_arrays(noise, tmp_path):
    rng = np.random.default_rng(1)
    iron, silicon = rng.poisson(60, (64, 64)), rng.poisson(30, (64, 64))
    result = mroscope.eds(map={"Fe": iron, "Si": silicon}, pixel_nm=0.5, draws=99)
    assert set(result.elements) == {"Fe", "Si"}
    assert result.elements.Fe.mean_at == pytest.approx(50, abs=3)  # counts stand for weight
    stack = mroscope.eds(map={"Fe,Si": np.stack([iron, silicon])}, pixel_nm=0.5, draws=99)
    assert numbers(stack)["elements"] == numbers(result)["elements"]


def test_tables_from_arrays(samples):
    path = samples / "stem" / "hardness_14x14.csv"
    values = np.genfromtxt(path, delimiter=",")
    of_array = mroscope.indent(values, unit="GPa", pitch="10um", permutations=999, details=False)
    of_file = mroscope.indent(path, unit="GPa", pitch="10um", permutations=999, details=False)
    assert of_array.mean == of_file.mean and of_array.moran_p == of_file.moran_p
    with pytest.raises(mroscope.errors.ArgumentError, match="rows and columns"):
        mroscope.indent(values[0], unit="GPa")


def test_tables_of_results():
    csv = b'file,state,n,value,value_ci95_lo\n"a, b.tif",AQ,3,0.5,\n'
    result = mroscope.Result("compare", {"schema": "x"}, {"s.compare.csv": csv, "s.compare.images.csv": csv})
    table = result.tables["images"]
    assert table.dtype.names == ("file", "state", "n", "value", "value_ci95_lo") and len(table) == 1
    assert table["file"][0] == "a, b.tif" and table["n"].dtype == np.int64 and np.isnan(table["value_ci95_lo"][0])
    assert set(result.tables) == {"states", "images"}


def test_warnings_name_options_as_python_does(samples):
    result = mroscope.bandpass(samples / "AQ_0_corr.tif", pixel_nm=0.05, details=False)
    assert result.warnings[0].startswith("pixel_nm 0.05 nm differs") and "--" not in repr(result)
    assert result.to_dict()["warnings"][0].startswith("pixel_nm")
    assert result == result.to_dict() and result.provenance == result.to_dict()["provenance"]


def test_remarks_name_options_as_python_does_and_files_stay_as_they_are(tmp_path):
    table = tmp_path / "pieces.csv"
    table.write_text("state,specimen,x\nA,1,1\nA,2,2\nB,3,2\nB,4,4\n")
    result = mroscope.compare(table, paired=True, details=False)
    assert "or leave out paired=True" in result.states[1].remark and "`" not in repr(result)
    with pytest.raises(OSError, match="'.*/a `kv` b.tif'"):
        mroscope.info(tmp_path / "a `kv` b.tif")


def test_stacks(noise):
    stack = np.stack([noise, noise[::-1]])
    assert "and 2 more" in mroscope.bandpass(np.repeat(stack, 3, axis=0), pixel_nm=0.05)._repr_html_()
    plain = mroscope.bandpass(stack, pixel_nm=0.05)
    assert [f.frame for f in plain.parts] == [0, 1]
    with pytest.raises(AttributeError, match="see .parts"):
        plain.rms_in
    with pytest.raises(mroscope.errors.ArgumentError, match="details=True"):
        plain.maps["filtered"] if plain.maps else plain.figure()
    whole = mroscope.bandpass(stack, pixel_nm=0.05, details=True)
    assert [set(f.maps) for f in whole.parts] == [{"filtered"}] * 2
    assert mroscope.bandpass(stack, pixel_nm=0.05, frames=[1]).frame == 1
    assert mroscope.bandpass(stack, pixel_nm=0.05, reduce="mean").rms_in < plain.parts[0].rms_in


def test_results_can_go_to_a_folder(noise, tmp_path):
    result = mroscope.bandpass(noise, pixel_nm=0.05, output=tmp_path / "new")
    names = {p.name for p in (tmp_path / "new").iterdir()}
    assert {"image.bandpass.json", "image.bandpass.tif", "image.bandpass.png"} <= names
    with pytest.raises(mroscope.errors.ArgumentError, match="not kept"):
        result.figure()


def test_read(samples, tmp_path):
    image = mroscope.read(samples / "AQ_0_corr.tif")
    assert image.array.dtype == np.uint16 and image.shape == (800, 800)
    assert image.pixel_nm == (0.02, 0.02) and [a.unit for a in image.axes] == ["nm", "nm"]
    assert not image.array.flags.writeable and np.asarray(image) is image.array
    data = samples.parent / "tests" / "data"
    stack = mroscope.read(data / "tiff" / "sto_imagej_nm_stack.tif")
    assert stack.array.ndim == 3
    assert np.array_equal(mroscope.read(data / "tiff" / "sto_imagej_nm_stack.tif", frames=1).array, stack.array[1])
    pattern = mroscope.read(data / "test_diffraction_pattern.dm3")
    assert pattern.axes[-1].unit == "1/nm"
    with pytest.raises(mroscope.errors.ArgumentError, match="has no image 7"):
        mroscope.read(samples / "AQ_0_corr.tif", image=7)
    colour = mroscope.read(data / "PtCo.jpg")
    assert colour.array.ndim == 2


def test_options_of_the_package_are_those_of_the_library():
    script = ROOT / "tools" / "python" / "generate.py"
    environment = {**os.environ, "MROSCOPE_LIBRARY": str(mroscope._library.path)}
    done = subprocess.run([sys.executable, script, "--check"], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
