#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Crystals end to end: numbers, files, options, bad input.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
image=$samples/stem/nanocrystal.tif

run lattice --json --reference-d 0.2027 "$image"
expect_result lattice crystals x_nm y_nm diameter_nm d_nm d_se_nm azimuth_deg strain exx eyy exy rotation_deg vortices \
    vortices_null phase zone_axis fringes hkl residual sides strain_se normal_azimuth_deg border_nm band mask_inv_nm \
    resolution_nm filter noise_fringe_length_nm false_expected size_limit_nm verdict reference_nm at_border d_crlb_nm \
    amplitude_over_noise dislocations
expect_out '"vortices": 0'
expect_out '"name": "alpha-Fe"'
expect_out '"hkl": [1, 1, 0]'
expect_out '"reference-d": {"value": 0.2027, "unit": "nm"}'
expect_out '"algorithm": "lattice 5"'
expect_out "a step of strain along the fringe normal"
# Planted: 8 nm at 5.61,5.60 nm, d 0.2027 nm, 1.5 % more on the side that 28.6 degrees points to.
checks=$((checks + 1))
if command -v python3 >/dev/null; then
    python3 - out.txt <<'EOF' || fail "the numbers are not those planted"
import json, math, sys
r = json.load(open(sys.argv[1]))
c, = r["crystals"]
assert abs(c["diameter_nm"] / 8 - 1) < 0.05 and math.hypot(c["x_nm"] - 5.6, c["y_nm"] - 5.6) < 0.1, c
assert abs(c["d_nm"] / (0.2027 * 1.0075) - 1) < 0.001 and abs(c["azimuth_deg"] - 28.65) < 0.3, c
sides = {s["side"]: s for s in r["sides"]}
assert sides["minus"]["crystal"] == sides["plus"]["crystal"] == 1, sides
assert abs(sides["minus"]["strain"]) < 0.002 and abs(sides["plus"]["strain"] - 0.015) < 0.002, sides
EOF
fi
expect_again lattice --json --reference-d 0.2027 --threads 1 "$image"

# Clusters of bcc Fe in a multislice image: the lens slopes across their spots, which lie on the top of the halo, and
# shifts none.
run lattice --quiet "$samples/CTC30_e10_0_corr.tif"
checks=$((checks + 1))
sed -n 's/^    [0-9].* d = \([0-9.]*\) .*/\1/p' out.txt | awk '{ sum += $1; n++ } END { exit !(n > 4 && sum / n > 0.2008 && sum / n < 0.2046) }' ||
    fail "the spacings of clusters of 0.2027 nm are off"
# What is said of a crystal is said of it alone, and not of "crystal 1 to 8".
run lattice --reference-d 0.15 "$samples/CTC30_e10_0_corr.tif"
checks=$((checks + 1))
[ "$(grep -c 'crystal [0-9]*: its spacing of 0.20[0-9]* nm is not that' err.txt)" -eq "$(sed -n 's/.* \([0-9]*\) crystals, .*/\1/p' out.txt)" ] ||
    fail "crystals whose strain is not measured are told as others"

run lattice -o deep/results "$image"
expect_code 0
expect_out "verdict"
expect_out "alpha-Fe 110"
expect_out "nm with d = 0.20429 +- 0.00016 nm" # two figures of the error
for suffix in json crystals.csv png svg pdf exx.tif eyy.tif exy.tif rotation.tif normal.tif filtered.tif; do
    expect_file "deep/results/nanocrystal.lattice.$suffix"
done
expect_json deep/results/nanocrystal.lattice.json
checks=$((checks + 1))
[ "$(wc -l <deep/results/nanocrystal.lattice.crystals.csv)" -eq 3 ] || fail "the table has not a head and two lines"
run info --json deep/results/nanocrystal.lattice.exx.tif
expect_out '"dtype": "float32"'
expect_out '"unit": ["nm", "nm"]'

# -- options
run lattice --json --phase gamma-Fe:0.3591:fcc --phase Co:0.2507:hcp --reference 4,4,6,6 --mask 0.3 --d-range 0.15,0.3 \
    --band-line 0,2,11,2 --band-width 3 "$image"
expect_code 0
expect_out '"phase": {"value": ["gamma-Fe:0.3591:fcc", "Co:0.2507:hcp"], "unit": "nm"}'
expect_out '"reference_nm": [4, 4, 6, 6]'
expect_out '"inside": {"count": 0'
expect_out "three are needed"
run lattice --json --g 0.2027@29 --g 0,4.93 "$image"
expect_code 0
expect_out '"g": {"value": ["0.2027@29", "0,4.93"], "unit": "1/nm"}'
expect_out "1 crystal"
for wrong in "--g 4" "--g 0.2@x" "--g 1,2 --g 2,1 --g 3,3" "--phase Fe" "--phase Fe:0.28:xyz" "--phase Fe:28:bcc" "--reference 5,5,1,9" "--reference-d 0" "--mask 9" \
    "--band-width 3" "--reference 1,1,3,3 --reference-d 0.2" "--d-range 0.3,0.2" "--band-line 1,2,3" "--false-crystals 0"; do
    # shellcheck disable=SC2086
    run lattice $wrong "$image"
    expect_code 2
    expect_one_line
done
run lattice --reference 1,1,500,9 "$image"
expect_code 1
expect_one_line
expect_err "no rectangle inside the field"
run lattice --g 0.2027@29 --g 0.2027@35 "$image"
expect_code 1
expect_one_line
expect_err "degrees apart): strain in the plane"
run lattice --g 0.5@29 "$image"
expect_code 1
expect_one_line
run lattice --band-line 3,3,3,3 "$image"
expect_code 1
expect_one_line
run lattice --json --reference 0.1,0.1,1,1 "$image"
expect_code 0
expect_out "lies outside every crystal"
expect_out '"strain": {"exx": null'
run lattice --d-range 0.01,0.03 "$image"
expect_code 2
run lattice --pixel 0.2 "$image"
expect_code 1
expect_one_line
expect_err "too coarse"
run lattice --help
expect_code 0
expect_out "--reference-d"

# -- bad input
run lattice --json "$samples/null_0_corr.tif"
expect_code 0
expect_out '"crystals": []'
expect_out "no crystal: no fringes stand out"
run lattice "$MROSCOPE_TEST_DATA/tiff/tif_constant.tif"
expect_code 1 # and without calibration
expect_err "--pixel NM"
run lattice --json --pixel 0.02 -o empty "$MROSCOPE_TEST_DATA/tiff/tif_constant.tif"
expect_code 0
expect_out "every pixel has the same value"
expect_file empty/tif_constant.lattice.png
run lattice --json --pixel 0.02 "$MROSCOPE_TEST_DATA/tiff/tif_all_nan_float.tif"
expect_code 0
expect_out "no pixel holds a number"
run lattice --pixel 0.02 "$MROSCOPE_TEST_DATA/tiff/tif_1x1.tif"
expect_code 1
expect_one_line
head -c 200000 "$image" >cut.tif
run lattice -o left cut.tif missing.tif
expect_code 1
expect_err "cut.tif"
expect_err "missing.tif"
expect_empty left

# The table of a session names the first crystal by its place.
printf 'file,state,kind\n%s,AQ,lattice\n' "$image" >session.csv
run batch session.csv -o session
expect_code 0
checks=$((checks + 1))
head -1 session/summary.csv | grep -q ',lattice.crystals.0.d_nm,lattice.crystals.0.d_se_nm,' || fail "$(head -1 session/summary.csv)"

finish
