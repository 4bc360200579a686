#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# How fast files are read: stacks of 16 frames of 4096 x 4096 that are in the page cache, against `cat FILE > /dev/null`;
# and with PYTHON compressed TIFF of 4 noisy frames of 4096 x 4096 against tifffile, which decodes them by imagecodecs.
# The best of TURNS=5 turns of each is printed. Nothing else should run. It takes 7 GB of disk, and with PYTHON 2 GB more.
#   [PYTHON=FOLDER/bin/python] tools/bench/reading.sh [BUILD FOLDER]      default build
# PYTHON needs numpy, tifffile and imagecodecs. DATA=FOLDER keeps the files for the next time. What was printed is kept as
# tools/bench/results/reading-<date>.txt; OUT_DIR=FOLDER puts it elsewhere.
set -euo pipefail
cd "$(dirname "$0")/../.."

build=${1:-build}
out=${OUT_DIR:-tools/bench/results}
if [ -n "${DATA:-}" ]; then data=$DATA; else
    data=$(mktemp -d)
    trap 'rm -rf "$data"' EXIT
fi
mkdir -p "$data" "$out"
cmake --build "$build" --target bench_reading >/dev/null
reading=$(find "$build" -name bench_reading -type f | head -1)

cat >"$data/make.py" <<'PY'
import os, sys
import numpy as np, tifffile
draw = np.random.default_rng(7)
n, frames = 4096, 4
y, x = np.mgrid[0:n, 0:n]
k = np.hypot(np.fft.fftfreq(n)[:, None], np.fft.rfftfreq(n)[None])
texture = np.fft.irfft2(np.fft.rfft2(draw.standard_normal((n, n))) * np.exp(-((k - 0.09) / 0.02) ** 2 / 2), (n, n))
level = (1 + 0.15 * np.sin(x / 900) * np.cos(y / 1100)) * (1 + 0.06 * texture / texture.std())
for mean in (100, 1000):
    stack = np.stack([draw.poisson(mean * level) for _ in range(frames)]).astype(np.uint16)
    for method in ("lzw", "zlib"):
        for predictor in (False, True):
            for name, how in (("strips", {}), ("rows", {"rowsperstrip": 1}), ("tiles", {"tile": (256, 256)})):
                if mean == 100 and how: continue
                path = f"{sys.argv[1]}/{method}-{mean}-{name}{'-differences' * predictor}.tif"
                if not os.path.exists(path):
                    tifffile.imwrite(path, stack, compression=method, predictor=predictor, photometric="minisblack",
                                     metadata=None, **how)
PY
cat >"$data/peer.py" <<'PY'
import os, subprocess, sys, time
import imagecodecs, tifffile
def best(run):
    times = []
    for _ in range(int(os.environ.get("TURNS", "5"))):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
print(f"tifffile {tifffile.__version__}, imagecodecs {imagecodecs.__version__}, {tifffile.TIFF.MAXWORKERS} thread(s) by default")
print(f"{'seconds':36s} {'mroscope':>9s} {'tifffile':>9s} {'2 threads':>9s}   times as fast as")
for path in sys.argv[2:]:
    table = subprocess.run([sys.argv[1], path], capture_output=True, text=True, check=True).stdout
    ours = float(table.splitlines()[-1].split()[4])
    theirs, two = best(lambda: tifffile.imread(path)), best(lambda: tifffile.imread(path, maxworkers=2))
    print(f"{os.path.basename(path):36s} {ours:9.3f} {theirs:9.3f} {two:9.3f}   {theirs / ours:.1f} {two / ours:.1f}", flush=True)
PY
all() {
    echo "date      $(date -u +%Y-%m-%dT%H:%MZ)"
    echo "commit    $(git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)"
    echo "processor $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -1), $(getconf _NPROCESSORS_ONLN) cores"
    echo "fresh: each frame in memory of its own, which the system clears first; again: in the memory of the one before,"
    echo "as measurements of stacks do it; info: min, max, mean and deviation of all pixels"
    for name in u16.tif u16.mrc u16.dm4 u16-be.tif u8.mrc u8.dm4 i32.tif i32.dm4 f32.mrc f32.dm4 f32-be.tif; do
        [ -e "$data/$name" ] || "$reading" make "$data/$name"
        cat "$data/$name" >/dev/null
        "$reading" "$data/$name" | if [ "$name" = u16.tif ]; then cat; else tail -n 1; fi
    done
    if [ -n "${PYTHON:-}" ]; then
        "$PYTHON" "$data/make.py" "$data"
        "$PYTHON" "$data/peer.py" "$reading" "$data"/{lzw,zlib}-*.tif
    fi
}
all 2>&1 | tee "$out/reading-$(date +%Y-%m-%d).txt"
