#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# What the compiler made of every kernel: registers, shared memory, spills and occupancy, for each architecture. Warnings
# are errors, and so is a kernel of ours that spills registers on compute capability 9.0. Needs nvcc, and no graphics card.
#   tools/bench/kernels.sh            prints the table and keeps it as tools/bench/results/kernels-<CUDA version>.txt
#   tools/bench/kernels.sh 90 120     prints these architectures only; those that nvcc does not know are left out
set -euo pipefail
cd "$(dirname "$0")/../.."

nvcc=${NVCC:-nvcc}
if ! command -v "$nvcc" >/dev/null && [ -x /usr/local/cuda/bin/nvcc ]; then nvcc=/usr/local/cuda/bin/nvcc; fi
command -v "$nvcc" >/dev/null || {
    echo "kernels.sh: no nvcc here; put it on the PATH or set NVCC" >&2
    exit 2
}
version=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
known=$("$nvcc" --list-gpu-code)
asked=("$@")
[ $# -gt 0 ] || asked=(75 80 90 100 120)
architectures=()
for a in "${asked[@]}"; do
    if grep -qx "sm_$a" <<<"$known"; then architectures+=("$a"); else echo "kernels.sh: nvcc $version does not know sm_$a" >&2; fi
done
[ ${#architectures[@]} -gt 0 ] || exit 0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for source in kernels/*.cu; do
    for a in "${architectures[@]}"; do
        echo "file $source" >>"$work/log"
        "$nvcc" -std=c++17 -O3 -I include -I . "-arch=sm_$a" -cubin -Werror all-warnings -Xcompiler -Wall,-Wextra -Xptxas -v \
            -o "$work/cubin" "$source" >>"$work/log" 2>&1 || {
            cat "$work/log" >&2
            exit 1
        }
    done
done

# From ptxas' lines "Compiling entry function 'NAME' for 'sm_90'", "... bytes spill stores ...", "Used N registers ...".
rows=$(awk '
    function field(word) { return match($0, "[0-9]+ " word) ? substr($0, RSTART, RLENGTH) + 0 : 0 }
    $1 == "file" { file = $2; sub(/.*\//, "", file); sub(/\.cu$/, "", file) }
    /Compiling entry function/ {
        split($0, part, "\047")
        name = part[2]; arch = part[4]; sub(/^sm_/, "", arch)
        if (name ~ /cub/ && match(name, /[A-Z][A-Za-z]*Kernel/)) name = "CUB " substr(name, RSTART, RLENGTH)
        else { sub(/^_ZL?[0-9]+/, "", name); sub(/_kernel.*/, "", name) }
    }
    /bytes stack frame/ { stack = field("bytes stack frame"); stores = field("bytes spill stores"); loads = field("bytes spill loads") }
    /Used [0-9]+ registers/ {
        match($0, /Used [0-9]+/)
        printf "%s|%s|%s|%d|%d|%d|%d|%d\n", file, name, arch, substr($0, RSTART + 5, RLENGTH - 5), field("bytes smem"), stack, stores, loads
    }' "$work/log")

toolkit=$(dirname "$(dirname "$(readlink -f "$(command -v "$nvcc")")")")
"${CC:-cc}" -std=gnu11 -I include -I . -I "$toolkit/include" -o "$work/occupancy" tools/bench/occupancy.c -lm
rows=$("$work/occupancy" <<<"$rows")

table() {
    echo "Kernels as compiled by nvcc $version ($("$nvcc" --version | tail -1))"
    echo "Registers of a thread, bytes of shared memory of a block, bytes of stack and of spills of a thread, threads of a"
    echo "block, and occupancy: per cent of the warps that a multiprocessor can hold, by NVIDIA's calculator."
    echo
    local form='%-10s %-42s %5s %9s %7s %6s %7s %6s %8s %10s\n'
    # shellcheck disable=SC2059 # the same form for head and rows
    printf "$form" file kernel sm registers shared stack stores loads threads occupancy
    # shellcheck disable=SC2059
    sort -t'|' -k1,1 -k2,2 -k3,3n <<<"$rows" | tr '|' '\t' | while IFS=$'\t' read -ra row; do printf "$form" "${row[@]}"; done
}
if [ $# -gt 0 ]; then
    table
else
    table | tee "tools/bench/results/kernels-$version.txt"
fi

spilling=$(awk -F'|' '$3 == 90 && $7 + $8 > 0 && $2 !~ /^CUB / { print $2 }' <<<"$rows")
if [ -n "$spilling" ]; then
    echo "kernels.sh: these kernels spill registers on sm_90: $(tr '\n' ' ' <<<"$spilling")" >&2
    exit 1
fi
