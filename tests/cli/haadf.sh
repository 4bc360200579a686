#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The heterogeneity measurement end to end: numbers, files, options, frames, bad input.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
image=$samples/stem/haadf_ascast.tif

run haadf --json "$image"
expect_result haadf band_inv_nm contrast_sd contrast_sd_ci95 normalised_variance fwhm skewness noise_sd \
    correlation_length_nm wavelength_nm wavelength_p dark bright threshold_sd count density_per_nm2 area_fraction \
    diameter_nm null_ratio p_value levels verdict line_noise_sd smoothing_nm heterogeneous clipped_fraction coverage \
    black_level
expect_out '"signal": {"value": "haadf"}'
expect_out '"polynomial": {"value": 3}'
expect_out '"thresholds": {"value": "1,1.5,2,3", "unit": "standard deviations"}'
expect_out '"algorithm": "haadf 2"'
expect_out 'dark regions of 2'
expect_out '"heterogeneous": true'
expect_again haadf --json --threads 1 "$image"
run haadf --json --seed 2 "$image"
checks=$((checks + 1))
cmp -s out.txt before.txt && fail "another seed gave the same bytes"

run haadf -o deep/results "$image"
expect_code 0
expect_out "verdict"
expect_err "--black-level"
expect grep -q '≤' deep/results/haadf_ascast.haadf.svg # p of the caption is a bound, as in the verdict
for suffix in json flat.tif dark.tif png svg pdf; do expect_file "deep/results/haadf_ascast.haadf.$suffix"; done
expect_json deep/results/haadf_ascast.haadf.json
run info --json deep/results/haadf_ascast.haadf.dark.tif
expect_out '"dtype": "float32"'
expect_out '"unit": ["nm", "nm"]'
expect_out '"min": -1'

# -- options
run haadf --json --signal hrtem --band 0.1,0.8 --thresholds 1,2 --high-pass 10 --polynomial 1 --black-level 0 "$image"
expect_code 0
expect_out '"signal": {"value": "hrtem"}'
expect_out '"thresholds": {"value": "1,2", "unit": "standard deviations"}'
expect_out '"black-level": {"value": 0, "unit": "counts"}'
expect_out '"band_inv_nm": [0.1, 0.8]'
checks=$((checks + 1))
grep -qF "black level of the detector is unknown" out.txt && fail "a black level that was given is called unknown"
for wrong in "--signal tem" "--thresholds 2,1" "--thresholds 1,x" "--thresholds 0,1" "--vacuum 1,2,3" "--vacuum 5,5,1,9" \
    "--polynomial 9" "--high-pass -1" "--surrogates 10" "--band 1,0.1"; do
    # shellcheck disable=SC2086
    run haadf $wrong "$image"
    expect_code 2
    expect_one_line
done
run haadf --signal hrtem --band 0.1,4 "$image"
expect_code 1
expect_one_line
expect_err "lattice"
run haadf --vacuum 1,1,500,9 "$image"
expect_code 1
expect_one_line
expect_err "no rectangle inside the field"
run haadf --band 0.1,40 "$image"
expect_code 1
expect_one_line
run haadf --json --high-pass 3 "$image"
expect_code 0
expect_out "of the power of the longest waves of the band"
run haadf --help
expect_code 0
expect_out "--black-level"

# -- sentences that differ in a number are one, with its range; names with numbers are no numbers
run haadf --surrogates 299 --black-level 0 "$samples/stem/haadf_ascast.tif" "$samples/stem/haadf_aged.tif"
expect_code 0
expect_err "haadf_ascast.tif' and 1 more: scan-line noise of 0.27 to 0.28 % along x was removed"
checks=$((checks + 1))
[ "$(grep -c 'scan-line noise' err.txt)" -eq 1 ] || fail "a warning is told for each image"

# -- bad input
run haadf "$MROSCOPE_TEST_DATA/tiff/tif_constant.tif"
expect_code 1 # and without calibration
expect_err "--pixel NM"
run haadf --json --pixel 0.1 "$MROSCOPE_TEST_DATA/tiff/tif_constant.tif"
expect_code 0
expect_out '"contrast_sd": null'
expect_out '"p_value": null'
expect_out "every pixel has the same value"
checks=$((checks + 1))
grep -q "if it is HRTEM" out.txt && fail "tells of HRTEM where nothing is measured"
run haadf --json --pixel 0.1 -o empty "$MROSCOPE_TEST_DATA/tiff/tif_all_nan_float.tif"
expect_code 0
expect_out "no pixel holds a number"
expect_file empty/tif_all_nan_float.haadf.png
run haadf --pixel 0.1 "$MROSCOPE_TEST_DATA/tiff/tif_1x1.tif"
expect_code 1
expect_one_line
expect_err "8 along each axis"
head -c 200000 "$image" >cut.tif
run haadf -o left cut.tif missing.tif
expect_code 1
expect_err "cut.tif"
expect_err "missing.tif"
expect_empty left

# -- a stack: each frame, and all together
run haadf --json --pixel 0.5 --band 0.05,0.4 "$MROSCOPE_TEST_DATA/tiff/sto_imagej_nm_stack.tif"
expect_code 0
expect_json out.txt
expect_out '"frame": 0'
expect_out '"frame": null'

# -- memory: what it says that it needs is enough
head -c 16777216 /dev/urandom | tiff8 large.tif 4096 4096 50 1
run haadf --signal hrtem --surrogates 299 --memory 90M large.tif
expect_code 1
need=$(sed -n 's/.* needs about \([0-9]*\) MiB, the memory budget is 90 MiB.*/\1/p' err.txt)
run haadf --signal hrtem --surrogates 299 --memory "${need}M" large.tif
expect_code 0

# -- an HRTEM image taken for HAADF: where the file or its noise says so
run haadf "$samples/AQ_0_corr.tif"
expect_code 0
expect_err "the image is measured as HAADF: if it is HRTEM, give --signal hrtem"
run convert -o camera "$samples/../tests/data/multi_signal.dm3"
sed -e 's/detector=DigiScan/detector=BM-Orius/' -e 's/title=HAADF/title=Image/' camera/multi_signal.i0.tif >camera/orius.tif
run haadf camera/orius.tif
expect_code 0
expect_err "a camera took the image, which is measured as HAADF: if it is HRTEM, give --signal hrtem"
for quiet in "--signal hrtem camera/orius.tif" camera/multi_signal.i0.tif; do
    # shellcheck disable=SC2086
    run haadf $quiet
    expect_code 0
    checks=$((checks + 1))
    grep -q "if it is HRTEM" err.txt && fail "tells of HRTEM for nothing"
done

finish
