#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""How much faster two workers of a Dask cluster are than one: a session of simulated HRTEM images on a LocalCluster,
with one thread a worker, beside `mroscope batch` with one and two jobs, which is what the machine allows. Scheduler and
client take their time of the same cores. The bytes of all results are compared. What was printed is kept as
tools/bench/results/cluster-<date>.txt.
    tools/bench/cluster.py        in an environment with the package: pip install "./tools/python[dask]"
Settings: IMAGES=64, SIZE=1024 (pixels along a side), TURNS=3 of everything, KIND=hrtem, OUT_DIR=FOLDER in place of
results, MROSCOPE_PROGRAM=FILE in place of the program that came with the package. A machine without other work is
needed: the cores that others had meanwhile show which lines to leave out."""

import datetime
import filecmp
import os
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Callable

import dask
import distributed
import numpy as np

import mroscope
import mroscope.distributed

IMAGES, SIZE, TURNS = (int(os.environ.get(k, v)) for k, v in (("IMAGES", 64), ("SIZE", 1024), ("TURNS", 3)))
KIND = os.environ.get("KIND", "hrtem")
PIXEL_NM = 0.02
PROGRAM = mroscope.distributed._find_program(None)


def write_mrc(path: Path, counts: np.ndarray) -> None:
    head = np.zeros(256, "<i4")
    head[[0, 1, 2, 3, 7, 8, 9, 16, 17, 18, 27]] = SIZE, SIZE, 1, 6, SIZE, SIZE, 1, 1, 2, 3, 20140
    head[52:54] = struct.unpack("<i", b"MAP ")[0], 0x4444
    path.write_bytes(head.tobytes() + counts.astype("<u2").tobytes())


def make_session(folder: Path) -> Path:
    """Speckle of a glass with its ring at 4.8 1/nm: the same in all images, but shifted, and with counts of their own."""
    draw = np.random.default_rng(1)
    f = np.hypot(np.fft.fftfreq(SIZE, PIXEL_NM)[:, None], np.fft.rfftfreq(SIZE, PIXEL_NM))
    speckle = np.fft.irfft2(np.fft.rfft2(draw.normal(size=(SIZE, SIZE))) * np.exp(-(((f - 4.8) / 0.5) ** 2)), (SIZE, SIZE))
    level = 400 * (1 + 0.08 * speckle / speckle.std()).clip(0.1)
    lines = ["file,state,kind,pixel_nm,kv,cs_mm"]
    for i in range(IMAGES):
        write_mrc(folder / f"image_{i:03d}.mrc", draw.poisson(np.roll(level, draw.integers(SIZE, size=2), (0, 1))))
        lines.append(f"image_{i:03d}.mrc,s{i % 2},{KIND},{PIXEL_NM},200,1.2")
    (folder / "session.csv").write_text("\n".join(lines) + "\n")
    return folder / "session.csv"


def undisturbed(measure: Callable[..., float], *given: Any) -> tuple[float, float]:
    """Seconds that `measure` gives, and how many cores others had meanwhile: programs that are none of ours, and the
    host of a virtual machine."""

    def spent() -> tuple[float, float, float]:
        busy = [int(v) for v in open("/proc/stat").readline().split()[1:9]]
        return time.monotonic(), (sum(busy) - busy[3] - busy[4]) / os.sysconf("SC_CLK_TCK"), sum(os.times()[:4])

    before = spent()
    seconds = measure(*given)
    wall, busy, own = (b - a for a, b in zip(before, spent()))
    return seconds, max(0.0, busy - own) / wall


def on_cluster(session: Path, output: Path, workers: int) -> float:
    """Seconds of batch() on a cluster that is there."""
    with distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None) as cluster:
        with distributed.Client(cluster) as client:
            client.run(mroscope.distributed._find_program, None)  # workers are there, and have the package
            began = time.monotonic()
            done = mroscope.distributed.batch(session, client, output=output).done
            seconds = time.monotonic() - began
    assert len(done) == IMAGES
    return seconds


def by_program(session: Path, output: Path, jobs: int) -> float:
    began = time.monotonic()
    command = [PROGRAM, "batch", session, "-o", output, f"--jobs={jobs}", f"--threads={jobs}", "--quiet"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


def compare(a: Path, b: Path) -> int:
    """Number of files that are the same in both; inputs.json is a cache of checksums."""
    lists = [sorted(p.relative_to(f) for p in f.rglob("*") if p.is_file() and p.name != "inputs.json") for f in (a, b)]
    same, different, _ = filecmp.cmpfiles(a, b, [str(p) for p in lists[0]], shallow=False)
    assert lists[0] == lists[1] and not different, f"'{a}' and '{b}' differ"
    return len(same)


def main() -> None:
    here = Path(__file__).resolve().parent
    out = Path(os.environ.get("OUT_DIR") or here / "results")
    lines = []

    def say(line: str) -> None:
        print(line, flush=True)
        lines.append(line)

    model = [x.split(":")[1].strip() for x in open("/proc/cpuinfo") if x.startswith("model name")][:1]
    say(f"date      {datetime.datetime.now(datetime.timezone.utc):%Y-%m-%dT%H:%MZ}")
    say(f"commit    {mroscope.__commit__}")
    say(f"processor {model[0] if model else 'unknown'}, {os.cpu_count()} cores")
    say(f"versions  python {sys.version.split()[0]}, distributed {distributed.__version__}, dask {dask.__version__}")
    say(f"session   {IMAGES} images ({KIND}) of {SIZE} x {SIZE}, uint16")
    say(f"{'':24s}{'seconds':>16s}{'times':>8s}{'cores of others':>18s}")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        session = make_session(root)
        for turn in range(TURNS):
            for name, measure in (("jobs", by_program), ("dask", on_cluster)):
                (one, others_1), (two, others_2) = (
                    undisturbed(measure, session, root / f"{name}-{turn}-{n}", n) for n in (1, 2)
                )
                what = {"jobs": "batch --jobs 1 and 2", "dask": "Dask, 1 and 2 workers"}[name]
                say(f"{what:24s}{one:8.2f}{two:8.2f}{one / two:8.2f}{others_1:12.2f}{others_2:6.2f}")
            for n in (1, 2):
                same = compare(root / f"jobs-{turn}-{n}", root / f"dask-{turn}-{n}")
        say(f"results   {same} files, the same bytes in all runs")
    out.mkdir(parents=True, exist_ok=True)
    (out / f"cluster-{datetime.date.today()}.txt").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
