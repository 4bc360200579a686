#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Maps of indents end to end: numbers, files, options, tables of every kind, bad input.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
table=$samples/stem/hardness_14x14.csv

run indent --json --unit GPa --pitch 10um --bins x "$table"
expect_result indent mean sd fwhm fwhm_ci95 moran_i moran_p unit mean_ci95 sd_ci95 fwhm_kernel noise_sd sd_true \
    fwhm_true n_effective grid bins trend verdict holes
expect_out '"unit": "GPa"'
expect_out '"mean": 9.4558'
expect_out '"sd": 0.4511'
expect_out '"fwhm": 1.0623'
expect_out '"shape": [14, 14]'
expect_out '"pixel_nm": [10000'
expect_out '"moran_p": 0.0001'
expect_out '"bins_from": "left"'
expect_again indent --json --unit GPa --pitch 10um --bins x "$table"

printf '7.9\n8.1\n8.0\n8.05\n7.95\n8.0\n' >silica.csv
run indent --unit GPa --reference silica.csv --bins bottom -o deep/results "$table"
expect_code 0
expect_out "196 indents"
expect_out "without noise"
expect_err "--pitch"
for suffix in json places.csv bins.csv png svg pdf; do expect_file "deep/results/hardness_14x14.indent.$suffix"; done
expect_json deep/results/hardness_14x14.indent.json
{ echo 'H (MPa)'; sed 's/\.//; s/$/00/' silica.csv; } >mpa.csv
run indent --unit GPa --reference mpa.csv "$table"
expect_code 1
expect_err "in MPa"
printf '8\n8\n8\n8\n8\n' >equal.csv
run indent --unit GPa --reference equal.csv "$table"
expect_code 1
expect_err "all equal"
checks=$((checks + 1))
[ "$(head -1 deep/results/hardness_14x14.indent.places.csv)" = $'column,row,value (GPa),neighbours_mean (GPa)\r' ] ||
    fail "places.csv does not say the unit"
checks=$((checks + 1))
[ "$(wc -l <deep/results/hardness_14x14.indent.places.csv)" = 197 ] || fail "not one row for each indent"

# -- tables as people save them: Windows encoding, semicolons, decimal commas, holes, no order
printf 'X (\xb5m);Y (\xb5m);H\xe4rte (GPa)\r\n20;0;9,3\r\n0;0;9,1\r\n10;25;9,0\r\n0;25;9,2\r\n10;0;\r\n20;25;8,8\r\n' >windows.csv
run indent --json windows.csv
expect_code 0
expect_out '"unit": "GPa"'
expect_out '"holes": 1'
expect_out '"pitch_um": [25, 10]'
expect_out '"calibration": "coordinates of the table"'
run indent -o deep/results windows.csv
expect_code 0
printf '9.1\n' >one.csv
run indent --json one.csv
expect_code 0
expect_out '"sd": null'
expect_out '"fwhm_ci95": null'
expect_out '"moran_i": null'
expect_out '"grid": null'
run indent -o deep/results one.csv
expect_code 0
printf '8,9,7\n9,9,8\n7,8,9\n' >three.csv
run indent --json three.csv
expect_code 0
expect_out '"unit": null'
expect_out '"pixel_nm": null'
expect_out 'give --unit'
run indent -o deep/results --bins y three.csv
expect_code 0

printf '9.1,9.2\n9.3,soft\n' >text.csv
printf '8,745,9,105\n8,866,9,139\n' >comma.csv
printf '9.1,-2\n9.3,9.1\n' >negative.csv
: >empty.csv
for bad in text.csv comma.csv negative.csv empty.csv none.csv "$samples/stem/shearband.tif"; do
    run indent --json "$bad"
    expect_code 1
    expect_one_line
done
run indent --negative --json negative.csv
expect_code 0
run indent --json text.csv three.csv
expect_code 1
expect_out '"file": "three.csv"'
run indent --bins x silica.csv
expect_code 1
expect_err "no positions"
for wrong in "--pitch 10" "--pitch 10GPa" "--bins z" "--noise -1" "--noise 0.1 --reference silica.csv" "--permutations 3"; do
    # shellcheck disable=SC2086
    run indent $wrong three.csv
    expect_code 2
    expect_one_line
done
run indent --column E windows.csv
expect_code 1
expect_err "no column 'E'"

# -- as part of a session
printf 'file,state,strain,kind\n%s,AQ,0,indent\n' "$table" >session.csv
run batch session.csv -o session
expect_code 0
expect_file session/summary.csv
checks=$((checks + 1))
grep -q '9\.4558' session/summary.csv || fail "the mean is not in the summary of the session"

finish
