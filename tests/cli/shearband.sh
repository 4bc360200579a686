#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Shear bands end to end: numbers, files, options, bad input.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
image=$samples/stem/shearband.tif

run shearband --json --alpha 0.02 --surrogates 99 "$image"
expect_code 0
expect_json out.txt
expect_keys out.txt schema file frame shape pixel_nm calibration warnings provenance normal_azimuth_deg bands position_nm \
    width_nm width_ci95 depth depth_ci95 normal_azimuth_ci95 line_nm length_nm segments p_value p_segments edge_nm junctions \
    verdict searched_width_nm position_from
expect_out '"schema": "mroscope.shearband/1"'
expect_out '"algorithm": "shearband 1"'
expect_out '2 bands beyond chance'
expect_out 'widths are projected'
checks=$((checks + 1))
grep -qE '"(threads|memory|device|output|quiet)":' out.txt && fail "an execution option is in the result"
# Planted: bands of 12 and 25 nm at 60 and 140 nm, 5 and 4 % deep, the normal at 20.05 degrees.
checks=$((checks + 1))
grep -oE '"position_nm": [0-9.]+|"width_nm": [0-9.]+, "width_ci95"|"depth": [0-9.]+, "depth_ci95"' out.txt |
    grep -oE '[0-9.]+' | head -12 | grep -v '^95$' | tr '\n' ' ' |
    awk '{ exit !($1 > 59.4 && $1 < 60.8 && $2 > 11.4 && $2 < 12.6 && $3 > 0.046 && $3 < 0.054 &&
                  $4 > 139.4 && $4 < 140.8 && $5 > 24 && $5 < 26 && $6 > 0.037 && $6 < 0.043) }' ||
    fail "the bands are not those that were planted"
cp out.txt two.txt
run shearband --json --alpha 0.02 --surrogates 99 --threads 1 "$image"
expect_same out.txt two.txt

run shearband --line 82,0,12,190 --thickness 60 --segments 8 --alpha 0.02 --surrogates 99 -o deep/results "$image"
expect_code 0
expect_out "width (95 %)"
for suffix in json profile.csv segments.csv band0.tif png svg pdf; do
    expect_file "deep/results/shearband.shearband.$suffix"
done
expect_json deep/results/shearband.shearband.json
checks=$((checks + 1))
[ "$(head -1 deep/results/shearband.shearband.segments.csv | tr -d '\r')" = band,x_nm,y_nm,along_nm,offset_nm,width_nm,depth ] ||
    fail "the table of segments has another header"
checks=$((checks + 1))
[ "$(wc -l <deep/results/shearband.shearband.segments.csv)" = 9 ] || fail "not one row for each of 8 segments"
run info --json deep/results/shearband.shearband.band0.tif
expect_out '"unit": ["nm", "nm"]'

for wrong in "--line 1,2,3" "--width 5" "--width 9,5" "--segments 2" "--polynomial 9" "--alpha 0.7" "--surrogates 10" \
    "--alpha 0.001" "--thickness -1"; do
    # shellcheck disable=SC2086
    run shearband $wrong "$image"
    expect_code 2
    expect_one_line
done
run shearband --line 1,2,900,20 "$image"
expect_code 1
expect_one_line
expect_err "outside"
run shearband --line 10,10,12,12 "$image"
expect_code 1
expect_err "apart"

finish
