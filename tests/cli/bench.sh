#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The benchmark: proof first, then a table or JSON; wrong usage.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
image=$samples/AQ_0_corr.tif

run bench --size 300 --runs 1 --threads 2 --json
expect_code 0
expect_json out.txt
expect_keys out.txt schema version commit backend device threads file shape runs proven proof stages name difference \
    allowed passed ms floor_ms mpixel_per_s gb_per_s rates processor_time measurements measurement stage calls
expect_out '"schema": "mroscope.bench/1"'
expect_out '"proven": true'
expect_out '"shape": [300, 300]'
for part in "planted order" "nothing planted" "upload" "download" "write a map" "whole measurement" "rings fit" "bank, window 3" "contrast spectrum"; do
    expect_out "\"name\": \"$part"
done
checks=$((checks + 1))
grep -qF '"passed": false' out.txt && fail "a check failed"

for part in bandpass lattice haadf shearband pdf; do expect_out "\"measurement\": \"$part\", \"stage\": \"all\""; done

run bench --runs 1 --processor-time "$image"
expect_code 0
expect_out "read and decode"
expect_out "1 thread:"
expect_out "on the host"
expect_out "image of 800 x 800 pixels"

run bench --runs 1 missing.tif
expect_code 1
expect_one_line
run bench "$image" "$image"
expect_code 2
expect_one_line
run bench --size 10
expect_code 2
expect_one_line
run bench --device floppy
expect_code 2
expect_one_line

finish
