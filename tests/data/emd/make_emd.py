#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Makes the EMD files of this folder, all but fei_example_tem_stack.emd. Needs h5py and numpy; tests/readers/emd.c says
what it expects of each file, so a change here is a change there. Run it in this folder."""
import json
import os

import h5py
import numpy as np

TEXT = h5py.string_dtype()
COLUMN = 3000  # bytes of a column of metadata; Velox writes 60000


def velox(name, version="11"):
    f = h5py.File(name, "w", libver=("earliest", "v110"))
    if version:
        f.create_dataset("Version", data=[json.dumps({"version": version, "format": "Velox"})], dtype=TEXT)
    return f


def metadata(detector="HAADF", index="0", **changes):
    m = {
        "Instrument": {"InstrumentClass": "Testa"},
        "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "1600000000"}},
        "Optics": {"AccelerationVoltage": "300000", "CameraLength": "0.115", "NominalMagnification": "99"},
        "Stage": {"AlphaTilt": "0.1", "BetaTilt": "-0.2"},
        "Scan": {"ScanSize": {"width": "8", "height": "10"}, "FrameTime": "1.5",
                 "ScanArea": {"left": "0.25", "right": "0.875", "top": "0.5", "bottom": "0.9"}},
        "Detectors": {
            "Detector-0": {"DetectorName": "HAADF", "DetectorType": "ScanningDetector"},
            "Detector-1": {"DetectorName": "BM-Ceta", "DetectorType": "ImagingDetector", "ExposureTime": "0.25",
                           "Binning": {"width": "4", "height": "2"}},
            "Detector-2": {"DetectorName": "SuperX1", "DetectorType": "AnalyticalDetector", "Dispersion": "10",
                           "OffsetEnergy": "-250"},
            "Detector-3": {"DetectorName": "SuperX2", "DetectorType": "AnalyticalDetector", "Dispersion": "10",
                           "OffsetEnergy": "-250"},
        },
        "BinaryResult": {"Detector": detector, "PixelSize": {"width": "2e-10", "height": "3e-10"},
                         "PixelUnitX": "m", "PixelUnitY": "m", "Offset": {"x": "-1e-9", "y": "5e-10"}},
        "CustomProperties": {"StemMagnification": {"type": "double", "value": "640000"}},
    }
    if index is not None:
        m["BinaryResult"]["DetectorIndex"] = index
    for path, value in changes.items():
        *groups, last = path.split("__")
        where = m
        for g in groups:
            where = where[g]
        if value is None:
            del where[last]
        else:
            where[last] = value
    return m


def put_metadata(group, m, frames=1, **how):
    text = json.dumps(m).encode() if isinstance(m, dict) else m
    a = np.zeros((COLUMN, frames), "u1")
    a[: len(text), :] = np.frombuffer(text, "u1")[:, None]
    how.setdefault("compression", "gzip")
    group.create_dataset("Metadata", data=a, chunks=(COLUMN, 1), **how)


def image(f, key, data, m, **how):
    g = f.create_group("Data/Image/" + key)
    g.create_dataset("Data", data=data, **how)
    if m is not None:
        put_metadata(g, m, data.shape[2])
    return g


def ramp(ny, nx, frames, dtype):
    y, x, k = np.mgrid[0:ny, 0:nx, 0:frames]
    return (100 * k + 10 * y + x).astype(dtype)


# Frames interleaved in chunks that fit the shape nowhere, through every filter that is read.
with velox("velox_stack_filters.emd") as f:
    image(f, "a" * 32, ramp(5, 7, 5, "<u2"), metadata(), chunks=(2, 3, 2), compression="gzip", shuffle=True,
          fletcher32=True)
# The same without filters, big-endian, contiguous and in chunks of one frame; one chunk was never written.
with velox("velox_plain.emd", "8") as f:
    image(f, "1" * 32, ramp(5, 7, 3, ">i4"), metadata())
    image(f, "2" * 32, ramp(5, 7, 3, ">f4"), metadata("BM-Ceta", "1", Scan={}), chunks=(5, 7, 1))
    g = f.create_group("Data/Image/" + "3" * 32)
    d = g.create_dataset("Data", (4, 4, 2), "<i2", chunks=(4, 4, 1), fillvalue=-7)
    d[:, :, 1] = ramp(4, 4, 1, "<i2")[:, :, 0]
    put_metadata(g, metadata(), 2)
    f.create_dataset("Operations/StemInputOperation/x", dtype=TEXT, data=[json.dumps(
        {"dataPath": "/Data/Image/" + "1" * 32, "detector": "DF4"})])
    f.create_dataset("Operations/CameraInputOperation/x", dtype=TEXT, data=[json.dumps(
        {"dataPath": "/Data/Image/" + "2" * 32, "cameraName": "Ceta"})])
    f.create_dataset("Presentation/Displays/ImageDisplay/x", dtype=TEXT, data=[json.dumps(
        {"dataPath": "/Data/Image/" + "3" * 32, "display": {"label": "left%20half"}})])
# Complex images, a diffraction pattern, an elemental map, missing keys, a version to come, kinds that are not read.
with velox("velox_kinds.emd", "14") as f:
    dpc = np.zeros((3, 4, 1), [("realFloat", "<f4"), ("imagFloat", "<f4")])
    dpc["realFloat"], dpc["imagFloat"] = 3 * ramp(3, 4, 1, "f4"), 4 * ramp(3, 4, 1, "f4")
    image(f, "1" * 32, dpc, metadata(), chunks=(3, 4, 1))
    fft = np.zeros((4, 3, 1), [("realFloatHalfEven", "<f4"), ("imagFloatHalfEven", "<f4")])
    fft["realFloatHalfEven"] = 1
    image(f, "2" * 32, fft, metadata(BinaryResult__PixelSize={"width": "2e7", "height": "3e7"},
                                     BinaryResult__PixelUnitX="1/m", BinaryResult__PixelUnitY="1/m"))
    image(f, "3" * 32, ramp(3, 4, 1, "<f4"), metadata("SuperX", None), chunks=(3, 4, 1), compression="gzip")
    image(f, "4" * 32, ramp(3, 4, 1, "<u1"),
          metadata(BinaryResult__PixelSize=None, Optics__AccelerationVoltage=None, Instrument=None, Stage=None))
    image(f, "5" * 32, ramp(3, 4, 1, "<u2"), b"{ \"Core\": ")
    image(f, "6" * 32, np.zeros((3, 4, 1), "S3"), metadata())
    latin = json.dumps(metadata(Instrument__InstrumentClass="Titan #")).encode().replace(b"#", b"\xb5")
    image(f, "7" * 32, ramp(3, 4, 1, "<u4"), latin)
    f.create_dataset("Displays/ImageDisplay/x", dtype=TEXT, data=[json.dumps(
        {"data": "/SharedProperties/ImageSeriesDataReference/y", "id": "Fe", "title": "Fe"})])
    f.create_dataset("SharedProperties/ImageSeriesDataReference/y", dtype=TEXT, data=[json.dumps(
        {"dataPath": "/Data/Image/" + "3" * 32, "frameIndex": 0})])
    f.create_dataset("Data/Line/x/Data", data=np.arange(4))

# A spectrum stream of two detectors, 3 frames of 4 x 5 pixels (the scan area of the metadata above), 2048 channels of
# 10 eV from -250 eV. Every pixel has a level background of one count in every fourth channel; pixel i has i counts of
# Fe (channel 665) and, in the second detector, 2 more of Si (channel 199) in every frame.


def stream(f, key, detector, index, counts, **how):
    words = []
    for frame in range(3):
        for pixel in range(20):
            events = list(range(0, 2048, 4)) + [c for c, n in counts(pixel) for _ in range(n)]
            words += sorted(events) + [65535]
    g = f.create_group("Data/SpectrumStream/" + key)
    g.create_dataset("Data", data=np.array(words[:-1], "<u2")[:, None], chunks=(4096, 1), **how)
    put_metadata(g, metadata(detector, index), 3)
    g.create_dataset("AcquisitionSettings", dtype=TEXT, data=[json.dumps(
        {"encoding": "uint16", "bincount": "2048", "StreamEncoding": "uint16",
         "RasterScanDefinition": {"Width": "8", "Height": "10"}})])


with velox("velox_stream.emd") as f:
    image(f, "a" * 32, ramp(4, 5, 3, "<u2"), metadata(), chunks=(4, 5, 1))
    stream(f, "1" * 32, "SuperX1", "2", lambda p: [(665, p)], compression="gzip")
    stream(f, "2" * 32, "SuperX2", "3", lambda p: [(665, p), (199, 2)])
    g = f.create_group("Data/Spectrum/" + "b" * 32)
    g.create_dataset("Data", data=np.arange(2048, dtype="<u4")[:, None], chunks=(2048, 1), compression="gzip")
    put_metadata(g, metadata("SuperX1", "2"))
# What pruning leaves of one.
with velox("velox_pruned.emd") as f:
    image(f, "a" * 32, ramp(4, 5, 1, "<u2"), metadata())
    f.create_group("Data/SpectrumStream")
    f.create_dataset("Data/SpectrumImage/" + "c" * 32 + "/Data", data=np.zeros((16, 1), "u1"))


def berkeley(name):
    f = h5py.File(name, "w", libver=("v110", "v110"))
    f.attrs["version_major"], f.attrs["version_minor"] = 0, 2
    return f


def dataset(f, path, data, dims, first=1, group_type=1, **how):
    g = f.create_group(path)
    g.attrs["emd_group_type"] = group_type
    g.create_dataset("data", data=data, **how)
    for i, (vector, label, unit) in enumerate(dims):
        d = g.create_dataset("dim%d" % (i + first), data=vector)
        if label is not None:
            d.attrs["name"] = label
        if unit is not None:
            d.attrs["units"] = np.bytes_(unit.encode()) if i % 2 else unit
    return g


with berkeley("berkeley.emd") as f:
    stack = np.transpose(ramp(4, 5, 3, "<f8"), (2, 0, 1))
    step = np.arange
    dataset(f, "data/stack", stack, [(np.array([0.0, 2.0, 4.0]), "t", "[s]"), (0.5 * step(4, dtype="f4"), "y", "[n_m]"),
                                     (np.array([1.0, 1.25]), "x", "n_m")], chunks=(2, 3, 4), compression="gzip")
    dataset(f, "data/turned", np.transpose(stack), [(0.1 * step(5), "x", "Å"), (0.2 * step(4), "y", "Å"),
                                                    (step(3) * 1.0, "t", "s")])
    dataset(f, "data/pattern", ramp(4, 5, 1, "<i2")[:, :, 0], [(0.2 * step(4), "Qy", "[1/n_m]"),
                                                               (0.3 * step(5), "Qx", "n_m^-1")])
    dataset(f, "data/spectrum", np.arange(6, dtype="<u1"), [(step(6) * 0.5 + 100, "E", "eV")])
    dataset(f, "data/new", ramp(3, 4, 1, ">u2")[:, :, 0], [(step(3) * 2, "y", "pm"), (step(4) * 3, "x", "pm")], first=0,
            group_type="array")
    dataset(f, "data/plain", (ramp(3, 4, 1, "<f4") * (1 + 1j))[:, :, 0].astype("<c8"),
            [(step(3), "y", ""), (np.array([b"a", b"b", b"c", b"d"]), "x", None)])
    dataset(f, "data/uneven", ramp(3, 4, 1, "<u2")[:, :, 0], [(np.array([0.0, 1.0, 5.0]), "y", "nm"),
                                                              (step(4) * 1.0, "x", "nm")])
    f["data/soft"] = h5py.SoftLink("/data/stack")
    f["data/hard"] = f["data/pattern"]
    compact = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    compact.set_layout(h5py.h5d.COMPACT)
    g = f.create_group("data/compact")
    g.attrs["emd_group_type"] = 1
    d = h5py.h5d.create(g.id, b"data", h5py.h5t.STD_I16BE, h5py.h5s.create_simple((2, 3)), compact)
    d.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([[-1, 2, 3], [4, 5, 6]], "i2"))
    g["dim1"], g["dim2"] = np.arange(2.0), np.arange(3.0)
    g["data"].attrs["units"] = "counts"
    m = f.create_group("microscope")
    m.attrs["high tension"], m.attrs["name"], m.attrs["camera length"] = 80000.0, "Old Faithful", 0.3
    m.attrs["binning"], m.attrs["magnification"] = np.int32(2), 1e5

# Files that try to lead elsewhere, or come through filters that are not read.
GOOD = [(np.arange(4) * 1.0, "y", "nm"), (np.arange(4) * 1.0, "x", "nm")]


def hostile(name, fill):
    with berkeley(name) as f:
        g = f.create_group("data/x")
        g.attrs["emd_group_type"] = 1
        g["dim1"], g["dim2"] = np.arange(4.0), np.arange(4.0)
        fill(f, g)


def external_raw(f, g):
    g.create_dataset("data", (4, 4), "u1", external=[("make_emd.py", 0, 16)])


def external_link(f, g):
    g["data"] = h5py.ExternalLink("berkeley.emd", "/data/pattern/data")


def external_group(f, g):  # a soft link that would go through another file
    f["elsewhere"] = h5py.ExternalLink("berkeley.emd", "/data")
    g["data"] = h5py.SoftLink("/elsewhere/pattern/data")


def virtual(f, g):
    layout = h5py.VirtualLayout((4, 4), "u1")
    layout[...] = h5py.VirtualSource("berkeley.emd", "/data/pattern/data", (4, 4))[...]
    g.create_virtual_dataset("data", layout)


def filtered(number, name):
    def fill(f, g):
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((2, 2))
        plist.set_filter(number, h5py.h5z.FLAG_OPTIONAL)
        d = h5py.h5d.create(g.id, b"data", h5py.h5t.STD_U8LE, h5py.h5s.create_simple((4, 4)), plist)
        d.write(h5py.h5s.ALL, h5py.h5s.ALL, np.ones((4, 4), "u1"))
    return fill


def loop(f, g):
    g["data"] = h5py.SoftLink("/data/x/other")
    g["other"] = h5py.SoftLink("data")


def chain(f, g):  # each link names the next 127 times over
    for k in range(6):
        f["l%d" % k] = h5py.SoftLink("/".join(["l%d" % (k + 1)] * 127) if k < 5 else ".")
    g["data"] = h5py.SoftLink("/l0/data/x/other")
    g["other"] = np.zeros((4, 4), "u1")


def hollow(f, g):  # 275 GB of which one frame is there
    g["dim3"] = np.arange(2.0)
    del g["dim1"], g["dim2"]
    g["dim1"], g["dim2"] = np.arange(2.0), np.arange(2.0)
    g.create_dataset("data", (1 << 16, 2048, 2048), "u1", chunks=(1, 2048, 2048), compression="gzip",
                     maxshape=(None, 2048, 2048))
    g["data"][0] = 1


def cycle(f, g):
    g["data"] = np.zeros((4, 4))
    g["below"] = f["data"]


hostile("hostile_external_raw.emd", external_raw)
hostile("hostile_external_link.emd", external_link)
hostile("hostile_external_group.emd", external_group)
hostile("hostile_virtual.emd", virtual)
hostile("hostile_zstd.emd", filtered(32015, "zstd"))
hostile("hostile_soft_loop.emd", loop)
hostile("hostile_cycle.emd", cycle)
hostile("hostile_soft_chain.emd", chain)
hostile("hostile_hollow.emd", hollow)

# One long text with many names, before the one that has the title of the image.
with velox("hostile_texts.emd") as f:
    g = f.create_group("Data/Image/" + "a" * 32)
    g["Data"] = np.zeros((4, 4), "u1")
    put_metadata(g, metadata())
    text = b'{"x":[' + b"1," * 1000000 + b"1]}"
    f.create_dataset("long", data=np.array([text], "S%d" % len(text)), chunks=(1,), compression="gzip")
    shown = f.create_group("Presentation/Displays/ImageDisplay")
    for i in range(300):
        shown["d%03d" % i] = f["long"]
    shown["last"] = np.array([json.dumps({"dataPath": g.name, "display": {"label": "never read"}})], TEXT)
print(sum(os.path.getsize(n) for n in os.listdir(".")), "bytes")
