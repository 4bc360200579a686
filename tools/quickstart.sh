#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# From a fresh clone to a first result: installs what is missing, builds, measures the sample micrographs.
set -euo pipefail
cd "$(dirname "$0")/.."

tools/setup.sh
log=$(mktemp)
trap 'rm -f "$log"' EXIT
# Prints the log of a step only when the step fails.
quietly() { "$@" >"$log" 2>&1 || { cat "$log" >&2; exit 1; }; }
echo "Building in build/ ..."
quietly cmake -S . -B build -DMROSCOPE_TESTS=OFF
quietly cmake --build build --parallel "$(getconf _NPROCESSORS_ONLN)"

echo "Measuring samples/*.tif (simulated; samples/README.md says what is planted in them) ..."
echo
build/mroscope mro --kv 200 --cs -0.01 -o results samples/*.tif
echo
echo "Figures (each also as .svg and .pdf):"
for image in samples/*.tif; do
    name=$(basename "$image" .tif)
    echo "  results/$name.mro.png"
done
echo
echo "The same as a session, with the HAADF images and the EDS profile (samples/session.csv) ..."
build/mroscope batch samples/session.csv -o results/session
build/mroscope report results/session -o results/report
echo
echo "All numbers: results/*.mro.json. Your own images: build/mroscope mro --kv KV --cs MM -o results FILE..."
