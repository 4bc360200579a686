#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The choice of a device, on machines with and without a graphics card. (tests/cuda/program.sh makes the cards up.)
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
image=$samples/AQ_0_corr.tif
unset MROSCOPE_DEVICE MROSCOPE_VECTORS

run devices
expect_code 0
expect_out "cpu      usable"
expect_out "strict   usable"
expect_out "cuda"
card=no
grep -q '^cuda:[0-9]* *usable' out.txt && card=yes
run devices --json
expect_code 0
expect_json out.txt
expect_keys out.txt schema version commit devices name backend usable description reason memory_bytes free_bytes \
    compute_capability driver runtime
if [ $card = no ]; then
    expect_out '"name": "cuda", "backend": "cuda", "usable": false'
    checks=$((checks + 1))
    grep -q '"backend": "cuda", "usable": false, "description": "[^"]*", "reason": "' out.txt || fail "no reason"
fi

for name in cpu strict; do
    run bandpass --json --device $name "$image"
    expect_code 0
    expect_out "\"backend\": \"$name\""
    checks=$((checks + 1))
    [ ! -s err.txt ] || fail "expected nothing on stderr"
done
# Vectors: one of the names is in use, each can be asked for, and others are refused before anything is done.
expect_out '"vectors": "'
vectors=$(sed -n 's/.*"vectors": "\([^"]*\)".*/\1/p' out.txt)
MROSCOPE_VECTORS=none run bandpass --json "$image"
expect_code 2
expect_one_line
expect_err "MROSCOPE_VECTORS is 'none'; this build on this processor can use $vectors"
for name in $(sed 's/.* can use //; s/,//g' err.txt); do
    MROSCOPE_VECTORS=$name run bandpass --json "$image"
    expect_code 0
    expect_out "\"vectors\": \"$name\""
    MROSCOPE_VECTORS=$name run devices
    expect_out ", $name vectors, "
done
MROSCOPE_DEVICE=strict run bandpass --json "$image"
expect_out '"backend": "strict"'
MROSCOPE_DEVICE=strict run bandpass --json --device cpu "$image"
expect_out '"backend": "cpu"'

run bandpass --json --device auto "$image"
expect_code 0
if [ $card = yes ]; then
    expect_out '"backend": "cuda"'
else
    expect_out '"backend": "cpu"'
    expect_err "mroscope: computing on the CPU: "
    checks=$((checks + 1))
    [ "$(wc -l <err.txt)" -eq 1 ] || fail "expected one line"
    run bandpass --json --quiet --device auto "$image"
    checks=$((checks + 1))
    [ ! -s err.txt ] || fail "expected nothing with --quiet"
fi

run bandpass --device cuda -o out "$image"
if [ $card = yes ]; then
    expect_code 0
else
    expect_code 1
    expect_one_line
    expect_err "device 'cuda' asked for, but "
    expect_err "use --device cpu"
    checks=$((checks + 1))
    [ ! -e out ] || fail "made a folder for nothing"
fi
run bandpass --device cuda:99 "$image"
expect_code 1
expect_one_line
for name in gpu cuda0 CPU strict:1; do
    run bandpass --device $name "$image"
    expect_code 2
    expect_one_line
    expect_err "unknown device '$name'; it is auto, cpu, cuda,"
done

finish
