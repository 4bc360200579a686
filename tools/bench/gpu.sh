#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What to run on a machine with a graphics card: builds for that card, holds every backend against the CPU, repeats that
# under each tool of compute-sanitizer (where it is installed), and only then times the program. Everything that was
# printed, with card, driver, commit and date, is kept as tools/bench/results/gpu-<card>-<date>.txt.
#   tools/bench/gpu.sh [BUILD_FOLDER]    default build-gpu
# Other settings: ARCH=90 (else the card's own), SIZES="2048 4096" (empty: nothing is timed), RUNS=9, TOOLS="memcheck
# racecheck initcheck synccheck" (empty: none), OUT_DIR=FOLDER in place of results. What takes too long for one run goes
# into several: a second one of the same day is added to the file.
set -uo pipefail
cd "$(dirname "$0")/../.." || exit 1

build=${1:-build-gpu}
sizes=${SIZES-2048 4096}
runs=${RUNS:-9}
tools=${TOOLS-memcheck racecheck initcheck synccheck}
out=${OUT_DIR:-tools/bench/results}
failed=0
ask() { nvidia-smi -i 0 --query-gpu="$1" --format=csv,noheader 2>/dev/null | head -1; }
card=$(ask name)
if [ -z "$card" ]; then
    echo "gpu.sh: nvidia-smi shows no card here" >&2
    exit 2
fi
arch=${ARCH:-$(ask compute_cap | tr -d .)}
mkdir -p "$out"
file="$out/gpu-$(tr -cs 'A-Za-z0-9\n' '-' <<<"$card" | sed 's/-$//')-$(date +%Y-%m-%d).txt"

# step WORDS...: runs them, keeps what they print
step() {
    echo
    echo "== $*"
    "$@" 2>&1
    local rc=$?
    [ "$rc" -eq 0 ] || {
        echo "FAILED with $rc: $*"
        failed=$((failed + 1))
    }
}

all() {
    echo "card     $card, compute capability $(ask compute_cap), $(ask memory.total)"
    echo "driver   $(ask driver_version)"
    echo "nvcc     $(nvcc --version 2>/dev/null | sed -n 's/.*release //p')"
    echo "commit   $(git describe --always --dirty --abbrev=12 2>/dev/null || echo unknown)"
    echo "date     $(date -u +%Y-%m-%dT%H:%MZ)"
    if ! { cmake -S . -B "$build" -DMROSCOPE_CUDA=on -DMROSCOPE_WERROR=ON -DCMAKE_CUDA_ARCHITECTURES="$arch" &&
        cmake --build "$build" --parallel "$(getconf _NPROCESSORS_ONLN)"; } >"$build/log.txt" 2>&1; then
        cat "$build/log.txt"
        echo "FAILED: the build"
        failed=$((failed + 1))
        return
    fi
    step "$build/mroscope" devices
    # The answers. A skipped card is no answer.
    local parity=$build/tests/test_parity_backends log=$build/parity.txt
    step "$parity" >"$log"
    cat "$log"
    if grep -q 'skipped cuda' "$log"; then
        echo "FAILED: the card was skipped"
        failed=$((failed + 1))
    fi
    if command -v compute-sanitizer >/dev/null; then
        for tool in $tools; do
            local options=()
            [ $tool = memcheck ] && options=(--leak-check full)
            step compute-sanitizer --tool $tool "${options[@]}" --error-exitcode 9 "$parity"
        done
    else
        echo "compute-sanitizer is not here: not run"
    fi
    for image in samples/*.tif; do
        for device in cuda cpu; do
            step "$build/mroscope" mro --device $device --kv 200 --cs -0.01 "$image"
        done
    done
    # The time.
    for size in $sizes; do
        for device in cuda cpu; do step "$build/mroscope" bench --device $device --size "$size" --runs "$runs"; done
    done
}

mkdir -p "$build"
all > >(tee -a "$file")
wait
echo
echo "kept as $file; $failed steps failed"
[ "$failed" -eq 0 ]
