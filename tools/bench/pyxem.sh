#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A stack of diffraction patterns of 1024 x 1024 pixels: mroscope pdf, from the file to profiles, and to G(r) and its
# errors, against the azimuthal integration of pyxem alone. Processor time is what is compared, as both use the cores
# that they find; the parts are run in turn. What was printed is kept as tools/bench/results/pyxem-<date>.txt.
#   PYTHON=FOLDER/bin/python tools/bench/pyxem.sh [MROSCOPE]      default build/mroscope
# PYTHON needs pyxem (pip install pyxem, in an environment of its own). Other settings: FRAMES=100 of the stack, PEER=24
# of them for pyxem, POINTS=256 of its profiles (its set-up takes minutes and gigabytes with the 724 that mroscope has),
# TURNS=3, OUT_DIR=FOLDER in place of results.
set -euo pipefail
cd "$(dirname "$0")/../.."

program=$(realpath "${1:-build/mroscope}")
python=${PYTHON:-python3}
out=${OUT_DIR:-tools/bench/results}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out"
export FRAMES=${FRAMES:-100} PEER=${PEER:-24} POINTS=${POINTS:-256} TURNS=${TURNS:-3} OMP_WAIT_POLICY=passive

# The sample's pattern, twice as fine, each frame shifted by a tenth of a pixel or so and with noise of its own, as MRC.
cat >"$work/stack.py" <<'PY'
import os, struct, sys
import numpy as np
from PIL import Image
from scipy import ndimage
frames = int(os.environ["FRAMES"])
one = ndimage.zoom(np.array(Image.open("samples/stem/saed_glass.tif")).astype(np.float32), 2, order=1)
ny, nx = one.shape
draw = np.random.default_rng(1)
head = np.zeros(256, "<i4")
head[[0, 1, 2, 3, 7, 8, 9, 16, 17, 18, 27]] = nx, ny, frames, 6, nx, ny, frames, 1, 2, 3, 20140
head[52:54] = struct.unpack("<i", b"MAP ")[0], 0x4444
with open(sys.argv[1], "wb") as f:
    f.write(head.tobytes())
    for _ in range(frames):
        level = np.maximum(ndimage.shift(one, draw.normal(0, 0.1, 2), order=1, mode="nearest"), 1)
        f.write(np.clip(draw.normal(level, np.sqrt(level)), 0, 65535).round().astype("<u2").tobytes())
PY
cat >"$work/peer.py" <<'PY'
import importlib.metadata as meta, os, resource, sys, time, warnings
warnings.simplefilter("ignore")
import dask, dask.array as da, hyperspy.api as hs, numpy as np, pyxem as pxm
hs.preferences.General.show_progressbar = False
frames, peer, points, turns = (int(os.environ[k]) for k in ("FRAMES", "PEER", "POINTS", "TURNS"))
def spent():
    u = resource.getrusage(resource.RUSAGE_SELF)
    return time.time(), u.ru_utime + u.ru_stime
def timed(what, run, over):
    wall, cpu = spent()
    made = run()
    wall, cpu = (b - a for a, b in zip((wall, cpu), spent()))
    print(f"pyxem {what:44s} {1e3 * cpu / over:9.1f} {1e3 * wall / over:9.1f}", flush=True)
    return made
print("versions " + ", ".join(f"{p} {meta.version(p)}" for p in ("pyxem", "hyperspy", "dask", "numba", "numpy")))
px = np.memmap(sys.argv[1], "<u2", "r", 1024, (frames, 1024, 1024))[:peer]
whole = pxm.signals.Diffraction2D(np.array(px))
lazy = pxm.signals.Diffraction2D(da.from_array(px, chunks=(8, 1024, 1024))).as_lazy()
for s in (whole, lazy):
    s.calibration(center=(511.5, 511.5), scale=0.003, units="k_A^-1")
slices = timed(f"set-up of {points} points, once a call (ms)", lambda: whole.calibration.get_slices1d(points), 1)
for s in (whole, lazy): # the same each time
    s.calibration.get_slices1d = lambda *a, **k: slices
for turn in range(turns + 1): # the first one compiles
    name = f"turn {turn}" if turn else "first turn"
    timed(f"integration in memory, {name} (ms a frame)", lambda: whole.get_azimuthal_integral1d(npt=points), peer)
    timed(f"integration, lazy, {name} (ms a frame)", lambda: lazy.get_azimuthal_integral1d(npt=points).compute(), peer)
PY
cat >"$work/own.py" <<'PY'
import os, resource, subprocess, sys, time
stack, program, out = sys.argv[1:4]
frames = int(os.environ["FRAMES"])
def run(n, more):
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.time()
    subprocess.run([program, "pdf", "--step", "0.03", "--kv", "200", "--quiet", "--frames", f"0-{n - 1}", *more, stack],
                   check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, time.time() - start
glass = ["--composition", "Fe82B18", "--density", "83.3"] # without it there are the profiles, their errors and geometry
for name, more in (("profiles", ["--json"]), ("numbers", [*glass, "--json"]), ("and files", [*glass, "-o", out])):
    few, all_ = run(frames // 10, more), run(frames, more)
    each = [1e3 * (b - a) / (frames - frames // 10) for a, b in zip(few, all_)]
    once = [1e3 * a - e * (frames // 10) for a, e in zip(few, each)]
    print(f"mroscope pdf, {name}: once (ms)".ljust(50) + f" {once[0]:9.1f} {once[1]:9.1f}")
    print(f"mroscope pdf, {name} (ms a frame)".ljust(50) + f" {each[0]:9.1f} {each[1]:9.1f}", flush=True)
PY
all() {
    echo "date      $(date -u +%Y-%m-%dT%H:%MZ)"
    echo "commit    $(git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)"
    echo "processor $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(getconf _NPROCESSORS_ONLN) cores"
    echo "stack     $FRAMES patterns of 1024 x 1024, uint16; pyxem: $PEER of them, $POINTS points"
    printf '%-50s %9s %9s\n' "" processor wall
    "$python" "$work/stack.py" "$work/stack.mrc"
    "$python" "$work/own.py" "$work/stack.mrc" "$program" "$work/results"
    "$python" "$work/peer.py" "$work/stack.mrc"
    for _ in $(seq 2 "$TURNS"); do "$python" "$work/own.py" "$work/stack.mrc" "$program" "$work/results"; done
}
all 2>&1 | tee "$out/pyxem-$(date +%Y-%m-%d).txt"
