#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What to run on a machine with a graphics card: builds for that card, holds every backend against the CPU and the card's
# results against the processor's, times the program and, where Nsight Compute is installed, each of its kernels, and
# last repeats the first under each tool of compute-sanitizer, where that is installed. Everything that was printed,
# with card, driver, commit and date, is kept line by line as tools/bench/results/gpu-<card>-<date>.txt.
#   tools/bench/gpu.sh [BUILD_FOLDER]    default build-gpu
# Other settings: ARCH=90 (else the card's own), SIZES="2048 4096" (empty: no bench), RUNS=9, FRAMES=64 of a stack
# (0: none), TOOLS="memcheck racecheck initcheck synccheck" (empty: none), OUT_DIR=FOLDER in place of results. STEP=150 is
# how many seconds a step may take and LIMIT=0 all of them (0: any); steps that are left out are named. What takes too
# long for one run goes into several: a second one of the same day is added to the file. DEVICE=strict tries this script
# where no card is.
#
# A machine that has a card and a driver, but not what mroscope is built with, takes a folder made on another one:
#   tools/bench/gpu.sh pack FOLDER       program, test and all libraries but the system's and cuFFT, which is too large
#   tools/bench/gpu.sh FOLDER            there, beside the sources; nothing is built
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

# Where nvcc, compute-sanitizer and ncu lie, if they are on no path.
PATH=$PATH:/usr/local/cuda/bin$(printf ':%s' /opt/nvidia/nsight-compute/*/)
cores=$(getconf _NPROCESSORS_ONLN)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# pack FOLDER: for any processor of its kind. The programs look into the folder first for every library.
pack() {
    # shellcheck disable=SC2016 # $ORIGIN is for the loader
    cmake -S . -B "$work" -DMROSCOPE_CUDA=on -DMROSCOPE_WERROR=ON -DMROSCOPE_NATIVE=OFF \
        ${ARCH:+-DCMAKE_CUDA_ARCHITECTURES="$ARCH"} '-DCMAKE_BUILD_RPATH=$ORIGIN/lib;$ORIGIN/../lib' \
        -DCMAKE_EXE_LINKER_FLAGS=-Wl,--disable-new-dtags >"$work/log" &&
        cmake --build "$work" --parallel "$cores" --target mroscope test_parity_backends >>"$work/log" || {
        cat "$work/log"
        return 1
    }
    mkdir -p "$1/lib" "$1/tests"
    cp "$work/mroscope" "$1"
    cp "$work/tests/test_parity_backends" "$1/tests"
    ldd "$work/mroscope" "$work/tests/test_parity_backends" | awk '$2 == "=>" && $3 ~ "^/" { print $3 }' | sort -u |
        grep -vE '/lib(c|m|dl|rt|pthread|resolv|gcc_s|stdc\+\+|cufft)\.so' | xargs cp -Lt "$1/lib"
    echo "$1: $(du -sh --apparent-size "$1" | cut -f1)"
}
if [ "${1-}" = pack ]; then
    pack "${2:?pack into which folder?}"
    exit
fi

build=${1:-build-gpu}
sizes=${SIZES-2048 4096}
runs=${RUNS:-9}
frames=${FRAMES:-64}
tools=${TOOLS-memcheck racecheck initcheck synccheck}
out=${OUT_DIR:-tools/bench/results}
device=${DEVICE:-cuda}
step_s=${STEP:-150}
limit_s=${LIMIT:-0}
failed=0
ask() { nvidia-smi -i 0 --query-gpu="$1" --format=csv,noheader 2>/dev/null | head -1; }
card=$(ask name)
if [ -z "$card" ] && [ "$device" != cuda ]; then card=none; fi
if [ -z "$card" ]; then
    echo "gpu.sh: nvidia-smi shows no card here" >&2
    exit 2
fi
arch=${ARCH:-$(ask compute_cap | tr -d .)}
mkdir -p "$out"
file="$out/gpu-$(tr -cs 'A-Za-z0-9\n' '-' <<<"$card" | sed 's/-$//')-$(date +%Y-%m-%d).txt"

fail() {
    echo "FAILED: $*"
    failed=$((failed + 1))
}

# within WORDS...: runs them in the time that a step may take
within() {
    local seconds=$step_s
    if [ "$limit_s" -gt 0 ] && [ $((limit_s - SECONDS)) -lt "$seconds" ]; then seconds=$((limit_s - SECONDS)); fi
    if [ "$seconds" -lt 5 ]; then
        echo "left out: $limit_s s are over" >&2
        return 1
    fi
    timeout --kill-after=5 "$seconds" "$@"
}

# step WORDS...: runs them, keeps what they print
step() {
    local from=$SECONDS rc=0
    echo
    echo "== $*"
    within "$@" 2>&1 || rc=$?
    [ $rc -eq 0 ] || fail "with $rc after $((SECONDS - from)) s: $*"
}

# same VERB WORDS...: the card's results against the processor's, number by number. What lies at a threshold may be
# judged otherwise: one more or less of what is counted, and one random field of hundreds behind a chance, which is
# therefore compared as it is and not relative to itself.
same() {
    local where
    echo
    echo "== $*: the card against the processor"
    for where in "$device" cpu; do
        if ! { within "$build/mroscope" "$@" --device "$where" --json --quiet >"$work/$where.json"; } 2>&1; then
            fail "$1 --device $where"
            return
        fi
    done
    python3 - "$work/$device.json" "$work/cpu.json" <<'PY' || fail "$1: other numbers"
import json, math, sys

def numbers(v, name, to):
    if isinstance(v, dict):
        for k in v.keys() - {"provenance", "warnings"}:
            numbers(v[k], name + "." + k, to)
    elif isinstance(v, list):
        to[name + " (count)"] = len(v)
        for i, x in enumerate(v[:5]):
            numbers(x, f"{name}[{i}]", to)
    elif isinstance(v, (int, float)):
        to[name] = v

card, cpu = ([json.loads(line) for line in open(path)] for path in sys.argv[1:])
print(f"{len(card)} results of {card[0]['provenance']['backend']}; numbers that differ by more than 1e-4:")
most, far = 0.0, 0
for a, b in zip(card, cpu, strict=True):
    m, n = {}, {}
    numbers(a, a["file"], m)
    numbers(b, b["file"], n)
    for k in sorted(m.keys() | n.keys()):
        x, y = m.get(k, math.nan), n.get(k, math.nan)
        counted = type(x) is int and type(y) is int and abs(x - y) <= 1
        chance = k.rsplit(".", 1)[-1].startswith("p_")
        d = 0 if x == y or counted else abs(x - y) / (1 if chance else max(abs(x), abs(y)))
        if x != y and (counted or not d <= 1e-4):
            print(f"  {k}: {x:.9g} for {y:.9g}")
        far += not d <= 0.01
        most = max(most, d)
print(f"largest difference {most:.2g}; {far} of over 1 %")
sys.exit(far > 0)
PY
}

compile() {
    cmake -S . -B "$build" -DMROSCOPE_CUDA=on -DMROSCOPE_WERROR=ON -DCMAKE_CUDA_ARCHITECTURES="$arch" &&
        cmake --build "$build" --parallel "$cores"
}

# The cuFFT of this machine, wherever its toolkit lies (Python's packages have one too), for a folder that was packed.
find_cufft() {
    local name at
    name=$(ldd "$build/mroscope" | sed -n 's/^[[:space:]]*\(libcufft[^ ]*\) => not found.*/\1/p')
    [ -n "$name" ] || return 0
    at=$(find /usr /opt "$HOME" -name "$name" -print -quit 2>/dev/null)
    [ -n "$at" ] || fail "$name is nowhere below /usr, /opt and $HOME"
    export LD_LIBRARY_PATH=${at%/*}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
}

# stacks N...: N.tif, plain TIFF of N frames of 4096 x 4096 counts, four different ones in turn
stacks() {
    (cd "$work" && python3 - "$@") <<'PY'
import struct, sys
import numpy as np

side, size = 4096, 4096 * 4096 * 2
q = np.hypot(np.fft.fftfreq(side, 0.02)[:, None], np.fft.rfftfreq(side, 0.02)[None])
gain = np.exp(-((q - 4.9) / 0.6) ** 2) + 0.2 * np.exp(-((q / 8) ** 2))
frames = []
for seed in range(4):
    rng = np.random.default_rng(seed)
    wave = np.fft.irfft2(np.fft.rfft2(rng.standard_normal((side, side), np.float32)) * gain, (side, side))
    frames.append(rng.poisson(200 * np.exp(0.1 * wave / wave.std())).astype("<u2").tobytes())
tags = [(256, 4, side), (257, 4, side), (258, 3, 16), (259, 3, 1), (262, 3, 1), (273, 4, 0), (277, 3, 1), (278, 4, side),
        (279, 4, size), (339, 3, 1)]
head = 2 + 12 * len(tags) + 4
for n in map(int, sys.argv[1:]):
    with open(f"{n}.tif", "wb") as f:
        f.write(struct.pack("<2sHI", b"II", 42, 8))
        for i in range(n):
            at = 8 + i * (head + size)
            f.write(struct.pack("<H", len(tags)))
            for tag, kind, value in tags:
                f.write(struct.pack("<HHII", tag, kind, 1, at + head if tag == 273 else value))
            f.write(struct.pack("<I", at + head + size if i + 1 < n else 0) + frames[i % 4])
PY
}

# Frames a second from the system's copy of the file, its checksum taken by one thread and by all: what a stack takes
# longer than one of a quarter, so that the start of the program and the plan, made once, do not count.
throughput() {
    local few=$((frames / 4)) sum n from taken
    echo
    echo "== mro, a stack of $frames frames of 4096 x 4096 from the page cache"
    if ! stacks "$frames" "$few"; then
        echo "no stack without python3 and numpy: not timed"
        return 0
    fi
    for sum in whole parts; do
        taken=(0 0)
        for n in "$frames" "$few" "$frames"; do # the first is not counted
            from=$(date +%s%N)
            { within "$build/mroscope" mro --device "$device" --json --quiet --pixel 0.02 --kv 300 --cs 1.2 \
                --checksum "$sum" "$work/$n.tif" >/dev/null; } 2>&1 || fail "the stack"
            taken=("${taken[1]}" $(($(date +%s%N) - from)))
            echo "checksum $sum, $n frames: $((taken[1] / 1000000)) ms"
        done
        awk -v n=$((frames - few)) -v few="${taken[0]}" -v all="${taken[1]}" \
            'BEGIN { if (all > few) printf "%.1f frames a second\n", 1e9 * n / (all - few) }'
    done
}

# The kernels of one program run on one image: how often each ran on how many blocks, microseconds at the median, what
# it moved to and from the card's memory, and how fast. Small grids are those of the plan.
each_kernel() {
    echo
    echo "== mro, 4096 x 4096: its kernels"
    if ! stacks 1; then
        echo "no image without python3 and numpy: not timed"
        return 0
    fi
    { within ncu --clock-control none --target-processes all --csv --print-units base --log-file "$work/ncu.csv" \
        --metrics gpu__time_duration.sum,dram__bytes.sum "$build/mroscope" mro --device "$device" --json --quiet \
        --pixel 0.02 --kv 300 --cs 1.2 "$work/1.tif" >/dev/null; } 2>&1 || {
        fail "ncu"
        tail -5 "$work/ncu.csv"
        return
    }
    python3 - "$work/ncu.csv" <<'PY' || fail "what ncu wrote"
import collections, csv, re, statistics, sys

launches = {}
for row in csv.DictReader(line for line in open(sys.argv[1]) if line.startswith('"')):
    name = re.split("[<(]", row["Kernel Name"])[0].split()[-1].split("::")[-1]
    one = launches.setdefault(row["ID"], {"of": (name, row["Grid Size"])})
    one[row["Metric Name"]] = float(row["Metric Value"].replace(",", ""))
kinds = collections.defaultdict(list)
for one in launches.values():
    kinds[one["of"]].append((one["gpu__time_duration.sum"], one["dram__bytes.sum"]))
total = {of: sum(ns for ns, _ in runs) for of, runs in kinds.items()}
print(f"{'kernel':40} {'grid':>18} {'times':>6} {'us':>9} {'MB':>8} {'GB/s':>6}")
for of in sorted(kinds, key=total.get, reverse=True):
    ns, moved = (statistics.median(column) for column in zip(*kinds[of]))
    print(f"{of[0]:40} {of[1]:>18} {len(kinds[of]):6} {ns / 1e3:9.1f} {moved / 1e6:8.1f} {moved / ns:6.0f}")
print(f"{len(launches)} launches, {sum(total.values()) / 1e6:.2f} ms")
sys.exit(not launches)
PY
}

all() {
    echo "card     $card, compute capability $(ask compute_cap), $(ask memory.total)"
    echo "driver   $(ask driver_version)"
    echo "nvcc     $(nvcc --version 2>/dev/null | sed -n 's/.*release //p')"
    echo "commit   $(git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)"
    echo "date     $(date -u +%Y-%m-%dT%H:%MZ)"
    if [ -d "$build/lib" ]; then
        chmod +x "$build/mroscope" "$build/tests/test_parity_backends"
        find_cufft
        echo "packed   $("$build/mroscope" --version 2>/dev/null)"
    elif ! compile >"$build/log.txt" 2>&1; then
        cat "$build/log.txt"
        fail "the build"
        return
    fi
    step "$build/mroscope" devices
    # The answers.
    local parity=("$build/tests/test_parity_backends" every_backend_against_the_cpu "$device")
    step "${parity[@]}"
    if command -v python3 >/dev/null; then
        same mro --kv 200 --cs -0.01 samples/*.tif
        same bandpass --band 4.1,5.8 samples/*.tif
        same lattice --reference-d 0.2027 samples/stem/nanocrystal.tif
        same haadf --black-level 0 samples/stem/haadf_ascast.tif samples/stem/haadf_aged.tif
        same shearband samples/stem/shearband.tif
        same pdf --composition Fe82B18 --density 83 --kv 200 samples/stem/saed_glass.tif samples/stem/saed_mro.tif
    else
        echo "no python3: results are not compared"
    fi
    # The time.
    for size in $sizes; do
        for where in "$device" cpu; do step "$build/mroscope" bench --device "$where" --size "$size" --runs "$runs"; done
    done
    if [ "$frames" -ge 4 ]; then throughput; fi
    if command -v ncu >/dev/null; then each_kernel; else echo "ncu is not here: kernels are not timed"; fi
    # What races, strays or reads what nobody wrote, and gave the right answer in spite of that.
    if command -v compute-sanitizer >/dev/null; then
        for tool in $tools; do
            local options=()
            [ "$tool" = memcheck ] && options=(--leak-check full)
            step compute-sanitizer --tool "$tool" "${options[@]}" --error-exitcode 9 "${parity[@]}"
        done
    else
        echo "compute-sanitizer is not here: not run"
    fi
}

mkdir -p "$build"
all > >(tee -a "$file")
wait
echo
echo "kept as $file; $failed steps failed"
[ "$failed" -eq 0 ]
