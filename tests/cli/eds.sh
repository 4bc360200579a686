#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# eds from tables and maps to results: keys, files, repeats, bad input.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
line=$samples/eds_line.csv
head -n 91 "$line" >part.csv # what is not about the numbers takes a part of it

# -- a table
run eds --json "$line"
expect_result eds points step_nm length_nm elements Fe mean_at sd_at sd_counting_at sd_true_at sd_true_ci95 \
    p_heterogeneous wavelength_nm p_periodic pairs Fe-Si r r_counting p k_factors contrast_groups inputs input_sha256 \
    seed
expect_out '"points": 252'
expect_out '"contrast_groups": null'
expect_out '"k_source": "table"'
expect_out '"draws": {"value": 999}'
expect_again eds --json --threads 1 "$line"
expect_again eds --json --threads 3 "$line"
run eds --json --k Fe=1,Co=1.05,Si=0.9,P=0.95 "$line"
expect_out '"k_factors": {"Fe": 1, "Co": 1.05, "Si": 0.9, "P": 0.95}, "k_source": "command line"'
expect_out '"k": {"value": "Fe=1,Co=1.05,Si=0.9,P=0.95"}'

run eds -o results "$line"
expect_code 0
expect_out "true part (95 %)"
for suffix in json profile.csv spectrum.csv png svg pdf; do expect_file "results/eds_line.eds.$suffix"; done
expect_json results/eds_line.eds.json
checks=$((checks + 2))
[ "$(head -1 results/eds_line.eds.profile.csv)" = $'distance_nm,Fe_at_percent,Fe_counting_sd_at_percent,Co_at_percent,Co_counting_sd_at_percent,Si_at_percent,Si_counting_sd_at_percent,P_at_percent,P_counting_sd_at_percent\r' ] ||
    fail "header of the profile"
[ "$(wc -l <results/eds_line.eds.profile.csv)" -eq 253 ] || fail "points of the profile"
head -n 91 results/eds_line.eds.profile.csv >own.csv
run eds --json own.csv # its own table is one of at.%
expect_code 0
expect_out '"points": 90'

# -- shares alone: the scatter is an upper bound
cut -d, -f1-5 part.csv >shares.csv
run eds --json shares.csv
expect_code 0
expect_out '"sd_true_at": null, "sd_true_ci95": null'
expect_out "sd_at is an upper bound"
expect_out '"k_factors": null'
# headers without units
sed '1s/ (at.%)//g' shares.csv >bare.csv
run eds bare.csv
expect_code 1
expect_err "--unit"
run eds --json --unit at bare.csv
expect_code 0
expect_out '"unit": {"value": "at"}'
# two halves of the counting as repeats
awk -F, 'NR == 1 { print $1 ",Fe (at.%),Si (at.%)"; next } { f = 80 + 3 * sin($1) + (NR * 7919 % 13) / 9; printf "%s,%.4f,%.4f\n", $1, f, 100 - f }' "$line" >a.csv
awk -F, 'NR == 1 { print $1 ",Fe (at.%),Si (at.%)"; next } { f = 80 + 3 * sin($1) + (NR * 104729 % 17) / 12; printf "%s,%.4f,%.4f\n", $1, f, 100 - f }' "$line" >b.csv
run eds --json --replicates a.csv b.csv
expect_code 0
expect_out '"replicates": 2'
checks=$((checks + 1))
grep -qE '"sd_true_at": 2\.[01]' out.txt || fail "the repeats do not give the planted scatter"
checks=$((checks + 1))
[ "$(wc -l <out.txt)" -eq 1 ] || fail "repeats are one result"
run eds --json a.csv b.csv
expect_code 0
checks=$((checks + 1))
[ "$(wc -l <out.txt)" -eq 2 ] || fail "two tables are two results"
run eds --replicates a.csv
expect_code 2
expect_err "two tables"
run eds --replicates a.csv a.csv
expect_code 1
expect_err "copies"

run eds --replicates "$line" "$line" # counted twice, noise would pass for composition
expect_code 1
expect_one_line
expect_err "copies"

# -- lines that are longer, or poorer, than quantiles can be computed for
awk 'BEGIN { srand(5); print "Distance (nm),Fe (counts),Si (counts)"
    for (i = 0; i < 120000; i++) printf "%g,%d,%d\n", i / 10, 90 + 20 * rand(), 20 + 9 * rand() }' >long.csv
run eds --json --elements Fe,Si long.csv
expect_code 0
expect_out '"points": 120000'
printf 'Distance (nm),Fe (counts),Si (counts)\n0,1,0\n1,0,1\n2,0,0\n3,1,0\n4,0,1\n' >few.csv
run eds few.csv
expect_code 1
expect_one_line
expect_err "no more than their noise: 4 +- 2 in all; measure for longer, or add up a wider band"
sed "/^[34],/s/,.*/,0,0/" few.csv >two.csv
run eds two.csv
expect_code 1
expect_err "has 2 points with counts of its elements, and a scatter needs three; measure for longer"
printf 'Distance (nm),Fe (counts),Si (counts)\n0,3000000,0\n1,3110000,1\n2,3090000,0\n' >poor.csv
run eds --json poor.csv
expect_code 0
expect_json out.txt
printf 'Distance (nm),Fe (counts),Si (counts)\n' >alone.csv
awk 'BEGIN { for (i = 0; i < 40; i++) print i "," 90 + i * 7 % 23 ",0" }' >>alone.csv
run eds --json alone.csv
expect_code 0
expect_out "Fe was the only element counted"
checks=$((checks + 1))
[ "$(grep -o '"p_periodic": null' out.txt | wc -l)" -eq 2 ] || fail "rounding errors of a constant have a period"
# thousands that are separated
printf 'Distance (nm)\tFe (counts)\tSi (counts)\n0\t987\t20\n1\t1,012\t21\n2\t950\t19\n3\t1,100\t22\n' >thousands.csv
run eds thousands.csv
expect_code 1
expect_one_line
expect_err "line 3, column 'Fe (counts)'"
tr '\t,' ';.' <thousands.csv >thousands_de.csv
run eds thousands_de.csv
expect_code 1
expect_err "thousands"
printf 'Distance (nm)\tFe (counts)\tSi (counts)\n0\t987,125\t20\n1\t1012,5\t21\n2\t950\t19\n3\t1100,25\t22\n' >decimals.csv
run eds decimals.csv
expect_code 0

# -- maps. map FILE SEED HEIGHT: a count map of 64 x HEIGHT pixels of 0.5 nm, as 8-bit TIFF with ImageJ calibration
map() {
    awk -v seed="$2" -v n=$((64 * $3)) 'BEGIN { srand(seed); for (i = 0; i < n; i++) {
        x = i % 64; y = int(i / 64); v = 20 * seed + 9 * sin(x / 3) * sin(y / 4) * (seed == 1 ? 1 : -1)
        k = 0; for (p = 1; p > exp(-v); k++) p *= rand()
        printf "%c", (k > 126 ? 126 : (k < 1 ? 1 : k)) } }' | tiff8 "$1" 64 "$3" 2 1
}
map Si.tif 1 64
map Fe.tif 3 64
map H.tif 2 64
map low.tif 1 32
run info --json Si.tif
expect_out '"shape": [64, 64], "dtype": "uint8", "pixel_size": [0.5, 0.5], "unit": ["nm", "nm"]'
run eds --json -o maps --map Fe=Fe.tif --map Si=Si.tif --haadf H.tif --k Fe=1,Si=0.9
expect_code 0
expect_json out.txt
expect_out '"file": "Fe.tif"'
expect_out '"pixel_nm": [0.5, 0.5]'
expect_out '"line_nm": [0, 0, 32, 32], "width_nm": 2.5'
expect_keys out.txt across r_with_line contrast_groups bright dark p shift_nm
expect_out '"role": "haadf"'
for suffix in json profile.csv across.csv spectrum.csv groups.tif png svg pdf; do expect_file "maps/Fe.eds.$suffix"; done
run eds --json --map Fe=Fe.tif --map Si=Si.tif --line 0,5,32,5 --width 3 --k Fe=1,Si=1
expect_code 0
expect_out '"line_nm": [0, 5, 32, 5], "width_nm": 3, "points": 64, "step_nm": 0.5'
run eds --json --haadf H.tif --mro Si.tif
expect_code 0
expect_keys out.txt share_in_bright share_by_chance
run eds --json --at-maps --map Fe=Fe.tif --map Si=Si.tif
expect_code 0
expect_out "at.% on average, not 100"
run eds --json --map Fe=Fe.tif --map Si=low.tif
expect_code 1
expect_one_line
expect_err "64 x 32"
run eds --json --map Fe=Fe.tif --map Si=Si.tif --haadf low.tif
expect_code 1
expect_err "not of the same field"
run eds --json --map Fe=Fe.tif --map Si=missing.tif
expect_code 1
expect_err "missing.tif"
run eds --map Fe=Fe.tif --map Si=Si.tif --line 0,5,40,5
expect_code 1
expect_err "outside"
run eds --map Fe=Fe.tif --map Xx=Si.tif
expect_code 2
expect_err "no element"
run eds --map Fe.tif --map Si=Si.tif
expect_code 2
expect_err "--map Fe=FILE"
run eds --map Fe=Fe.tif --map Fe=Si.tif
expect_code 2
expect_err "twice"
run eds --map Fe,Co=Fe.tif
expect_code 1
expect_err "names 2 elements"

# -- bad tables: one sentence each, the others are done
printf 'Distance (nm),Fe (counts),Si (counts)\n1,400,20\n2,-1,20\n3,390,20\n' >negative.csv
printf 'Distance (nm),Fe (counts),Si (counts)\n1,400,20\n' >short.csv
: >empty.csv
for bad in negative short empty missing; do
    run eds -o left $bad.csv
    expect_code 1
    expect_one_line
    expect_err "'$bad.csv'"
    expect_empty left
done
run eds --json negative.csv part.csv
expect_code 1
expect_out '"points": 90'
run eds Fe.tif
expect_code 1
expect_err "--map"

# -- wrong usage
usage() {
    local text=$1
    shift
    run eds "$@"
    expect_code 2
    expect_one_line
    expect_err "$text"
}
usage "needs a table"
usage "one or the other" "$line" --map Fe=Fe.tif
usage "number between 0.01 and 100" --k Fe=0 "$line"
usage "X0,Y0,X1,Y1" --map Fe=Fe.tif --line 1,2,3
usage "one of header|at|wt|counts" --unit g "$line"
usage "--haadf FILE" --map Fe=Fe.tif --mro Si.tif
mkdir other
cp "$line" other/
usage "would both write" -o both "$line" other/eds_line.csv

run eds --map Fe,Si counts.emd
expect_code 2
expect_err "does not name its file; write --map Fe,Si=FILE"
run eds --map Fe.tif
expect_code 2
expect_err "does not name its element; write --map Fe=FILE"

# a slip of the hand, whose square is no number any more
sed '4s/,[0-9.]*/,1e308/' "$samples/eds_line.csv" >slip.csv
run eds slip.csv
expect_code 1
expect_one_line
expect_err "line 4, column 'Fe (at.%)' holds 1e+308, more than there can be"

# what holds for several elements is one sentence of all of them
run eds "$samples/eds_line.csv"
expect_code 0
expect_err "Co, P: no wavelength: neither a variation nor a period of it exceeds chance (p = 0.41, 0.38)"

finish
