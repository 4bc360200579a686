#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Counts the instructions of the hot paths on fixed inputs, one thread, under callgrind, and compares them with those on
# record (results/instructions.txt): a guard against slowness that creeps in, the same on any machine at any load.
#   tools/bench/instructions.sh           compares; exit 1 when a count has grown
#   tools/bench/instructions.sh --record  writes the record anew, after a change that is meant
# The program is built without the instructions of this processor alone, and told which vectors to take. Counts depend
# on compiler and libraries: other versions than those of the record are not compared. Allowed are 10 %: counts of one
# build do not differ at all, and small changes of a source move them by a few per cent.
set -euo pipefail
cd "$(dirname "$0")/../.."

record=tools/bench/results/instructions.txt
tolerance=10 # percent
build=${BUILD:-build-portable}
program=$build/mroscope
# Small, and of few draws: what counts is that every hot path is walked often enough to be seen. Fringes of 0.5 nm need
# fewer wave vectors than those of 0.2 nm; the image of a shear band is the smallest scanned one.
cases=(
    "mro|mro --device cpu --quiet --threads 1 --json --kv 200 --cs 1.2 --d 0.5 --band 1.6,2.5 --surrogates 8 samples/AQ_0_corr.tif"
    "pdf|pdf --device cpu --quiet --threads 1 --json --kv 200 --composition Fe78Si9B13 --draws 50 --centre 255.5,255.5 --ellipse 1,0 samples/stem/saed_glass.tif"
    "lattice|lattice --device cpu --quiet --threads 1 --json samples/stem/nanocrystal.tif"
    "haadf|haadf --device cpu --quiet --threads 1 --json --surrogates 299 --band 0.02,0.5 samples/stem/shearband.tif"
    "eds|eds --quiet --threads 1 --json --draws 99 samples/eds_line.csv"
    "tiff|info --json samples/AQ_0_corr.tif"
    "dm|info --json tests/data/test_stackbuilder_imagestack.dm3"
    "mrc|info --json tests/data/HAADFscan_one_block.mrc"
)

command -v valgrind >/dev/null || {
    echo "instructions: valgrind is not here: nothing counted"
    exit 0
}
# Instruction sets beyond AVX2 are not known to valgrind, so that libraries choose the same code on any processor that
# has it; another compiler or library counts otherwise.
grep -qw avx2 /proc/cpuinfo || {
    echo "instructions: this processor has no AVX2, for which the record was made: nothing compared"
    exit 0
}
machine="$(uname -m), cc $(cc -dumpversion), libc $(ldd --version | sed -n '1s/.* //p'), gsl $(pkg-config --modversion gsl), $(valgrind --version)"
if [ "${1:-}" != --record ] && [ "$(sed -n 's/^# counted on: //p' "$record")" != "$machine" ]; then
    echo "instructions: the record is of other versions than '$machine': nothing compared"
    exit 0
fi
{ cmake -S . -B "$build" -DMROSCOPE_NATIVE=OFF -DMROSCOPE_CUDA=off -DMROSCOPE_TESTS=OFF &&
    cmake --build "$build" --parallel "$(getconf _NPROCESSORS_ONLN)" --target mroscope; } >/dev/null

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export OMP_WAIT_POLICY=passive OMP_NUM_THREADS=1 LC_ALL=C MROSCOPE_VECTORS=SSE2

# count NAME ARGUMENTS...: lines "NAME what instructions": all of it, the libraries', and each function of ours that has 3 % or more.
count() {
    local name=$1
    shift
    # What it says of the machine changes from one to the next, so it sees none of it.
    valgrind -q --tool=callgrind --callgrind-out-file="$work/$name" "$program" "$@" >/dev/null 2>"$work/$name.err" || {
        cat "$work/$name.err" >&2
        return 1
    }
    callgrind_annotate --threshold=100 "$work/$name" | awk -v name="$name" '
        { n = $1; gsub(",", "", n) }
        /PROGRAM TOTALS/ { total = n; next }
        /^ *[0-9,]+ \(/ {
            if ($0 !~ /\/mroscope\]/) next
            line = $0; sub(/ \[.*/, "", line); sub(/.*:/, "", line); sub(/\.constprop.*|\.part.*|\.isra.*/, "", line)
            own[line] += n; ours += n
        }
        END {
            printf "%s all %.0f\n%s libraries %.0f\n", name, total, name, total - ours
            for (f in own) if (own[f] >= 0.03 * total) printf "%s %s %.0f\n", name, f, own[f]
        }' | sort
}

now=$work/now
pids=()
for c in "${cases[@]}"; do
    # shellcheck disable=SC2086
    count "${c%%|*}" ${c#*|} >"$work/${c%%|*}.count" &
    pids+=($!)
done
for p in "${pids[@]}"; do wait "$p"; done
for c in "${cases[@]}"; do cat "$work/${c%%|*}.count"; done >"$now"

if [ "${1:-}" = --record ]; then
    {
        echo "# Instructions of the hot paths, one thread, portable build; written by tools/bench/instructions.sh --record"
        echo "# counted on: $machine"
        cat "$now"
    } >"$record.new"
    mv "$record.new" "$record"
    exit 0
fi
awk -v tolerance="$tolerance" '
    /^#/ { next }
    NR == FNR { was[$1 " " $2] = $3; next }
    { is[$1 " " $2] = $3 }
    END {
        for (k in was) {
            if (!(k in is)) continue # of no weight any more, or of another name
            change = 100 * (is[k] / was[k] - 1); n++
            if (change > tolerance) { printf "instructions: %s took %.4g million and takes %.4g million (%+.0f %%)\n", k, was[k] / 1e6, is[k] / 1e6, change; bad = 1 }
            else if (change < -tolerance) printf "instructions: %s takes %.0f %% less: write the record anew\n", k, -change
        }
        printf "instructions: %d counts compared, %d %% allowed\n", n, tolerance
        exit bad
    }' "$record" "$now"
