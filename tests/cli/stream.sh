#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Stacks: larger than the memory budget, the same bytes at any budget, and their frames reduced to one image.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
image=$samples/AQ_0_corr.tif

# The pixels of the sample as rows, moved down by any number of rows: tail and head of its bytes.
tail -c $((800 * 800 * 2)) "$image" >rows.raw

# -- ten times the budget: 330 frames of 800 x 800 take 422 MB
frames=330
{
    stack16 $frames 800 800 50 1
    for _ in $(seq $frames); do cat rows.raw; done
} >long.tif
run info --json --header long.tif
expect_code 0
expect_out '"shape": [330, 800, 800], "dtype": "uint16", "pixel_size": [null, 0.02, 0.02]'

# peak ARGS...: runs it and leaves the largest resident memory in KiB in $peak
peak() {
    "$program" "$@" >out.txt 2>err.txt &
    local id=$! now
    peak=0
    while now=$(awk '/VmHWM/ { print $2 }' /proc/$id/status 2>/dev/null) && [ -n "$now" ]; do
        [ "$now" -gt "$peak" ] && peak=$now
        sleep 0.02
    done
    wait $id
    code=$?
}
budget=40
if [ -r /proc/self/status ] && [ -z "${ASAN_OPTIONS:-}" ]; then
    peak bandpass --json --memory ${budget}M long.tif
    expect_code 0
    checks=$((checks + 1))
    [ "$peak" -gt 0 ] && [ "$peak" -le $((budget * 1024 * 115 / 100)) ] || fail "a peak of $peak KiB for a budget of $budget MiB"
    cp out.txt small.txt
    checks=$((checks + 1))
    [ "$(wc -l <small.txt)" -eq $frames ] || fail "expected $frames results"
    peak mro --json --kv 200 --cs -0.01 --reduce mean --memory 64M long.tif
    expect_code 0
    checks=$((checks + 1))
    [ "$peak" -le $((64 * 1024 * 115 / 100)) ] || fail "a peak of $peak KiB for a mean within 64 MiB"
    run bandpass --json --frames 0,100-109,329 long.tif
    expect_code 0
    sed -n '1p;101,110p;330p' small.txt >want.txt
    expect_same out.txt want.txt
    peak convert --memory 32M -o whole long.tif
    expect_code 0
    checks=$((checks + 1))
    [ "$peak" -le $((32 * 1024 * 115 / 100)) ] || fail "a peak of $peak KiB to convert within 32 MiB"
    rm -rf whole
    # A series that is opened through its EMI file lies in a file of its own.
    {
        u16 0x4949 && u16 0x197 && u16 0x210 && u32 0x4122 && u32 0x4152 && u32 100 && u32 100 && u32 30 && u32 0
        for i in $(seq 0 199); do u32 $((830 + i % 100 * (50 + 1280000))); done
        for _ in $(seq 100); do
            head -c 40 /dev/zero && u16 2 && u32 800 && u32 800
            cat rows.raw
        done
    } >long_1.ser
    printf 'JK\0\2 long_1.ser <ObjectInfo></ObjectInfo>' >long.emi
    peak convert --memory 32M -o whole long.emi
    expect_code 0
    checks=$((checks + 2))
    [ "$(wc -c <whole/long.tif)" -gt 128000000 ] || fail "the series is not whole"
    [ "$peak" -le $((32 * 1024 * 115 / 100)) ] || fail "a peak of $peak KiB to convert an EMI file within 32 MiB"
    rm -rf whole long_1.ser
fi
run bandpass --json --memory 1G --threads 1 --frames 5-8 long.tif
cp out.txt one.txt
run bandpass --json --memory 40M --threads 3 --frames 5-8 long.tif
expect_same out.txt one.txt

# A budget that one frame does not fit into is told before work starts, with what is needed.
run bandpass --json --memory 14M -o left long.tif
expect_code 1
expect_one_line
expect_err "needs about"
expect_err "--memory"
expect_empty left
rm long.tif

# -- reduced
# Five frames of 800 columns and 600 rows, each further down the sample: drift along y by known whole rows.
{
    stack16 5 800 600 50 1
    for shift in 0 13 6 21 30; do tail -c +$((shift * 1600 + 1)) rows.raw | head -c $((800 * 600 * 2)); done
} >drift.tif
run bandpass --json --reduce aligned -o reduced drift.tif
expect_code 0
expect_json out.txt
checks=$((checks + 1))
[ "$(wc -l <out.txt)" -eq 1 ] || fail "expected one result of all frames"
expect_out '"frame": null, "shape": [570, 800], "pixel_nm": [0.02, 0.02]'
expect_out '"reduce": {"value": "aligned", "algorithm": "align 1"}'
expect_file reduced/drift.bandpass.json
expect_file reduced/drift.bandpass.tif
expect_file reduced/drift.bandpass.shifts.csv
checks=$((checks + 3))
[ "$(head -1 reduced/drift.bandpass.shifts.csv)" = $'frame,y_px,x_px,y_nm,x_nm,correlation\r' ] || fail "header of the shifts"
[ "$(wc -l <reduced/drift.bandpass.shifts.csv)" -eq 6 ] || fail "expected five shifts"
# What a frame shows lies further up by as many rows as were left out above.
awk -F, 'NR > 1 { split("0 13 6 21 30", s, " "); d = $2 + s[NR - 1]; if (d * d > 0.0025 || $3 * $3 > 0.0025) exit 1
                  d = $4 - 0.02 * $2; if (d * d > 1e-12) exit 1 }' reduced/drift.bandpass.shifts.csv ||
    fail "wrong shifts: $(cat reduced/drift.bandpass.shifts.csv)"
cp out.txt want.txt
run bandpass --json --reduce aligned --threads 1 --memory 2G drift.tif
expect_same out.txt want.txt
run bandpass --json --reduce mean --frames 4,0-1,1 drift.tif
expect_code 0
expect_out '"frame": null, "shape": [600, 800]'
expect_out '"reduce": {"value": "mean"}'
expect_out '"frames": {"value": "0-1,4"}'
run mro --json --kv 200 --cs -0.01 --reduce aligned drift.tif
expect_code 0
checks=$((checks + 1))
[ "$(wc -l <out.txt)" -eq 1 ] || fail "expected one result of all frames"
expect_out '"schema": "mroscope.mro/1"'
run mro --reduce sum drift.tif
expect_code 2
expect_err "--reduce wants one of none|mean|aligned, not 'sum'"
run bandpass --reduce mean --frames 2-9 drift.tif
expect_code 1
expect_one_line
expect_err "has no frame 9"

# What is one frame anyway is measured as it is.
run bandpass --reduce aligned --json "$image"
expect_code 0
expect_out '"frame": null, "shape": [800, 800]'

# A terminal is told of the frames that are asked for: after two of three the file is done.
if script -qec true /dev/null >/dev/null 2>&1; then
    checks=$((checks + 1))
    script -qec "'$program' bandpass --frames 0-1 '$MROSCOPE_TEST_DATA/tiff/sto_imagej_nm_stack.tif'" /dev/null >out.txt 2>err.txt
    grep -q '1 of 1 files' out.txt || fail "progress counts frames that are not asked for"
fi

finish
