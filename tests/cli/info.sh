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
expect_out '"pixel_size": [0.02, 0.02], "unit": ["nm", "nm"], "calibration": "ImageJ"'
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
