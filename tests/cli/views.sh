#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# mro with the map of the literature's measure and with other pass bands: keys, files, calibration, determinism.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
image=$samples/CTC30_e10_0_corr.tif
options=(--kv 200 --cs -0.01 --surrogates 8)

run mro "${options[@]}" --map acf --sweep-band --json -o out "$image"
expect_code 0
expect_json out.txt
expect_out '; this holds in the 5 pass bands tried'
expect_out '"sweep": [{"band_inv_nm": [4.1, 5.8], "fraction": 0.'
for band in '4.3, 5.6' '3.9, 6' '3.9, 5.6' '4.3, 6'; do expect_out "{\"band_inv_nm\": [$band], \"fraction\": 0."; done
expect_out '"fraction_acf": 0.'
for suffix in acf.tif sweep.csv filtered.tif score.tif; do expect_file "out/CTC30_e10_0_corr.mro.$suffix"; done
checks=$((checks + 1))
[ "$(wc -l <out/CTC30_e10_0_corr.mro.sweep.csv)" -eq 6 ] || fail "expected a header and 5 bands"
cp out.txt first.txt
cells=$(run info --json out/CTC30_e10_0_corr.mro.score.tif && sed -n 's/.*"images": .*"shape": \(\[[0-9, ]*\]\).*"pixel_size": \(\[[0-9., ]*\]\).*/\1 \2/p' out.txt)
run info --json out/CTC30_e10_0_corr.mro.acf.tif
expect_code 0
checks=$((checks + 1))
[ -n "$cells" ] && [ "$cells" = "$(sed -n 's/.*"images": .*"shape": \(\[[0-9, ]*\]\).*"pixel_size": \(\[[0-9., ]*\]\).*/\1 \2/p' out.txt)" ] ||
    fail "the maps have different cells"
run info --json out/CTC30_e10_0_corr.mro.filtered.tif
expect_code 0
expect_out '"dtype": "float32"'
expect_out '"unit": ["nm", "nm"]'

# The same bytes at any number of threads, with files or without.
run mro "${options[@]}" --map acf --sweep-band --json --threads 1 "$image"
expect_code 0
expect_same out.txt first.txt

# Without the options: no such numbers, no such files.
run mro "${options[@]}" --json -o plain "$samples/null_0_corr.tif"
expect_code 0
expect_out '"fraction_acf": null'
expect_out '"sweep": []'
checks=$((checks + 1))
[ ! -e plain/null_0_corr.mro.acf.tif ] && [ ! -e plain/null_0_corr.mro.sweep.csv ] || fail "files that were not asked for"

# A band that leaves no room beside it is told, and the others are tried.
run mro "${options[@]}" --sweep-band --json --band 4.6,5.8 "$image"
expect_code 0
expect_out 'pass bands left out of the sweep: 4.80 to 5.60, 4.80 to 6.00 nm^-1: '
expect_out 'in the 3 pass bands tried'

run mro --map fft "$image"
expect_code 2
expect_one_line

finish
