#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# info on good and bad files.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
image=$samples/AQ_0_corr.tif

run info "$image"
expect_code 0
expect_out "TIFF, 1 image"
expect_out "800 x 800 uint16, pixel 0.02 nm (ImageJ), field 16 x 16 nm"
run info --json "$image"
expect_code 0
expect_json out.txt
expect_keys out.txt schema file frame shape pixel_nm calibration warnings provenance images index title kind dtype \
    pixel_size unit beam_kv min max mean sd not_finite
expect_out '"schema": "mroscope.info/1", "file": "'"$image"'"'
expect_out '"pixel_size": [0.02, 0.02], "unit": ["nm", "nm"], "offset": [0, 0], "calibration": "ImageJ"'
expect_out '"input_sha256": "'"$(sha256sum <"$image" | cut -d' ' -f1)"'"'

# Headers only: no values, no checksum, the rest the same.
run info --json --header "$image"
expect_code 0
expect_out '"shape": [800, 800], "dtype": "uint16"'
expect_out '"min": null'
expect_out '"input_sha256": null'

run info -o results "$image"
expect_code 0
expect_json results/AQ_0_corr.info.json

# What the file says of the microscope, in words and in JSON.
run info "$MROSCOPE_TEST_DATA/EELS_SI.dm4"
expect_code 0
expect_out "200 kV"
expect_out "instrument FEI Titan, detector US1000FTXP 1, date 2019-05-14T20:50:13"
expect_out "camera length 550 mm, binning 1 x 26, tilt alpha 0.00244 deg, tilt beta 0 deg"
run info --json "$MROSCOPE_TEST_DATA/EELS_SI.dm4"
expect_out '"binning": [26, 1], "stage_tilt_deg": [0.002439998066344124, 0]'
expect_out '"microscope": {"beam_kv": 200, "magnification": 225000, "camera_length_mm": 550, "binning": [26, 1]'
run info --json "$image"
expect_out '"microscope": null'

# What a measurement would take for the pixel size.
run info --pixel 0.02,0.025 "$image"
expect_code 0
expect_out "pixel 0.02 nm along x, 0.025 nm along y (command line), field 16 x 20 nm"
expect_err "--pixel 0.025 nm differs by 25 % from the 0.02 nm of the file (ImageJ) along y"
run info --json --pixel 0.0201 "$image"
expect_out '"pixel_size": [0.0201, 0.0201], "unit": ["nm", "nm"], "offset": [0, 0], "calibration": "command line"'
expect_out '"warnings": []'
run info "$MROSCOPE_TEST_DATA/tiff/hopper_lzw.tif"
expect_out "pixel size unknown"
run info --resolution-tags "$MROSCOPE_TEST_DATA/tiff/hopper_lzw.tif"
expect_out "pixel 264620 nm (TIFF resolution tag)"
for bad in 0 0,1 1,0 1,2,3 '1,' ',1' x 1e-5 1,2e6; do
    run info --pixel "$bad" "$image"
    expect_code 2
    expect_one_line
    expect_err "--pixel"
done

# Bad files: exit 1, one sentence that names the file, and nothing else.
: >empty.tif
head -c 100000 "$image" >cut.tif
echo "not an image" >text.tif
mkdir folder
for bad in missing.tif empty.tif cut.tif text.tif folder; do
    run info "$bad"
    expect_code 1
    expect_one_line
    expect_err "'$bad'"
    run info --json "$bad" -o left
    expect_code 1
    expect_one_line
    expect_empty left
done
if [ "$(id -u)" -ne 0 ]; then
    cp "$image" locked.tif
    chmod 000 locked.tif
    run info locked.tif
    expect_code 1
    expect_one_line
    expect_err "locked.tif"
fi

# One bad file does not stop the others.
run info --json "$image" cut.tif "$samples/null_0_corr.tif"
expect_code 1
expect_err "cut.tif"
checks=$((checks + 1))
[ "$(wc -l <out.txt)" -eq 2 ] || fail "expected two results"

# Names that are no UTF-8 still give valid JSON.
odd=$(printf 'odd-\xff-name.tif')
if cp "$image" "$odd" 2>/dev/null; then
    run info --json "$odd"
    expect_code 0
    expect_json out.txt
fi

# Standard output that cannot be written is an error, not silence.
if [ -w /dev/full ]; then
    "$program" info "$image" >/dev/full 2>err.txt
    code=$?
    : >out.txt
    expect_code 1
    expect_err "standard output"
fi

finish
