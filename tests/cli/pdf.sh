#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# pdf from patterns and tables to results: keys, files, references, series, bad input.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
glass=$samples/stem/saed_glass.tif
mro=$samples/stem/saed_mro.tif
of=(--composition Fe82B18 --density 83 --draws 60)

# -- patterns
run pdf --json "${of[@]}" --kv 200 -o results "$glass"
expect_result pdf centre_px ellipse_ratio ellipse_azimuth_deg s_max_inv_nm damping density_per_nm3 fsdp Q_inv_A \
    first_moment_inv_A area fwhm_inv_A shells r_A height area_se second_peak small_peaks connection R_A modes atoms \
    centre_A area_ci95 correlation separable anisotropy e2 azimuth_deg p sectors series difference oscillation \
    rms_ci95 input_sha256 seed
expect_out '"damping": "lorch"'
expect_out '"composition": "Fe82B18"'
for suffix in json profile.csv sq.csv gr.csv png svg pdf; do expect_file "results/saed_glass.pdf.$suffix"; done
checks=$((checks + 3))
[ "$(head -1 results/saed_glass.pdf.profile.csv)" = $'s_inv_nm,intensity,se\r' ] || fail "header of the profile"
[ "$(head -1 results/saed_glass.pdf.sq.csv)" = $'Q_inv_A,S,S_se\r' ] || fail "header of S(Q)"
[ "$(head -1 results/saed_glass.pdf.gr.csv)" = $'r_A,G,G_se,g\r' ] || fail "header of G(r)"
# the first four maxima of G(r), within 0.1 A of those that the glass has through this range of Q
checks=$((checks + 1))
tr -d '\r' <results/saed_glass.pdf.gr.csv | awk -F, '
    NR > 3 && b > a && b >= $2 && x > 1.5 && b > 0.1 { found[++n] = x }
    { a = b; b = $2; x = $1 }
    END { split("2.60 4.66 6.64 8.78", want, " ")
          for (i = 1; i <= 4; i++) if (found[i] - want[i] > 0.1 || want[i] - found[i] > 0.1) exit 1 }' ||
    fail "maxima of G(r)"
expect_again pdf --json --threads 3 "${of[@]}" --kv 200 "$glass"

# the stronger order beyond 0.6 nm, with an interval without 1
run pdf --json "${of[@]}" --reference "$glass" -o against "$mro"
expect_code 0
expect_out '"reference_sha256": "'
checks=$((checks + 2))
grep -oE '"oscillation_ratio_ci95": \[[0-9.]+' out.txt | awk '{ exit !(substr($2, 2) > 1) }' || fail "stronger order is not seen"
[ "$(head -1 against/saed_mro.pdf.gr.csv)" = $'r_A,G,G_se,g,dG,dG_se\r' ] || fail "header of the difference"
run pdf "${of[@]}" -o alone "$mro"
checks=$((checks + 1)) # the curves of the reference are in the figure, each with a line of its legend
thin() { grep -oE 'stroke-width[:="]+0\.2116' "$1" | wc -l; }
[ $(($(thin against/saed_mro.pdf.svg) - $(thin alone/saed_mro.pdf.svg))) -eq 4 ] || fail "no curves of the reference"
run pdf "${of[@]}" --reference "$glass" "$mro"
expect_out "times that of the reference"

# without a composition: geometry and profile, and a sentence; a scale that is not the file's is told from 1 % on
run pdf --json --step 0.0603 "$glass"
expect_code 0
checks=$((checks + 1))
grep -q 'a pixel is given as' out.txt && fail "a step of 0.5 % off is told"
run pdf --json --step 0.062 "$glass"
expect_out "given as 0.062 nm^-1, and is 0.06 in the file"
run pdf --json "$glass"
expect_code 0
expect_out "--composition"
expect_out '"shells": []'
expect_out '"fsdp": {"Q_inv_A": null'

# -- tables: its own profile and S(Q) again
tr -d '\r' <results/saed_glass.pdf.profile.csv | awk -F, 'NR == 1 || ($1 > 1.9 && $1 < 15.3)' >profile.csv
run pdf --json --radiation electrons --abscissa s-nm "${of[@]}" profile.csv
expect_code 0
expect_out '"centre_px": null'
expect_out '"r_A": 2.5'
run pdf --json --radiation electrons --abscissa s-nm "${of[@]}" --background -1 profile.csv # neither constant nor slope
expect_code 0
expect_out '"background": {"value": -1}'
run pdf --json --composition Fe82B18 --density 83 results/saed_glass.pdf.sq.csv
expect_code 0
expect_out '"r_A": 2.5'
run pdf --json results/saed_glass.pdf.gr.csv
expect_code 0
expect_out "only shells are read off it"
expect_out '"r_A": 2.5'

# a series
for t in 300 320 340 360 380 400; do cp profile.csv "T$t.csv"; done
run pdf --json --radiation electrons --abscissa s-nm "${of[@]}" --values 300,320,340,360,380,400 -o series T*.csv
expect_code 0
for suffix in json csv png svg pdf; do expect_file "series/series.pdf.$suffix"; done
checks=$((checks + 1))
[ "$(wc -l <series/series.pdf.csv)" -eq 7 ] || fail "points of the series"
printf 'file,value\nT300.csv,1\nT320.csv,2\n' >values.csv
run pdf --json --radiation electrons --abscissa s-nm "${of[@]}" --values values.csv T300.csv T320.csv
expect_code 0
expect_out "needs six points"
# the session of a batch: other columns, quotes, decimal commas
printf 'File;state;Value: temperature (K)\r\n"day 1\\T300.csv";AQ;300,5\r\nT320.csv;AQ;320\r\nother.tif;AQ;\r\n' >session.csv
run pdf --json --radiation electrons --abscissa s-nm "${of[@]}" --values session.csv T300.csv T320.csv
expect_code 0
expect_out '"value": 300.5'
expect_out '"value_name": "temperature", "value_unit": "K"'
printf 'file,value\nT300.csv,warm\n' >words.csv
run pdf --values words.csv T300.csv
expect_code 1
expect_err "row 2 of 'words.csv'"
run pdf --values values.csv T300.csv T400.csv
expect_code 1
expect_err "has no value for"
run pdf --values 1,x T300.csv # the name of a table
expect_code 1
expect_err "--values: cannot open '1,x'"
run pdf --values 300,320 -o few T300.csv T320.csv T340.csv
expect_code 2
expect_one_line
expect_err "--values gives 2 values for 3 profiles; give one for each, or one for each file"
expect_not [ -e few ]
run pdf --values 300,320 T300.csv T300.csv
expect_code 2
expect_err "'T300.csv' is given twice"
# a path that fills a message leaves room for what is missing, and what to do
deep=$(printf 'd%.0s' {1..200})
mkdir -p "$deep/$deep"
cp "$MROSCOPE_TEST_DATA/tiff/hopper_lzw.tif" "$deep/$deep/bare.tif"
run pdf "$deep/$deep/bare.tif"
expect_code 1
expect_err "/bare.tif' has no calibration in nm^-1; give --step PER_NM"
expect_err "or a standard with --standard Au --standard-file FILE"

# -- scale and ellipse from the rings of gold: 0.06 nm^-1 a pixel, long axis 1.012 times the short one at 0 degrees
le() { printf "\\x$(printf %02x $(($1 & 255)))\\x$(printf %02x $(($1 >> 8 & 255)))\\x$(printf %02x $(($1 >> 16 & 255)))\\x00"; }
field() { printf "\\x$(printf %02x $(($1 & 255)))\\x01\\x04\\x00\\x01\\x00\\x00\\x00" && le "$2"; }
tiff() { # WIDTH HEIGHT: header of bytes that follow
    printf 'II\x2a\x00\x08\x00\x00\x00\x08\x00'
    field 256 "$1"; field 257 "$2"; field 258 8; field 259 1; field 262 1; field 273 110; field 278 "$2"; field 279 $(($1 * $2))
    printf '\x00\x00\x00\x00'
}
rings() { # bytes of 512 x 512 pixels
    LC_ALL=C awk 'BEGIN {
        n = split("3 4 8 11 12 16 19 20 24 27 32 35", sum, " "); split("10 5 3.5 4 1 0.6 1.5 1.4 1 1 0.3 0.6", strength, " ")
        for (i = 0; i < 4000; i++) { s = i / 10 * 0.06; f = 12 + 50 * exp(-s / 1.5)
            for (k = 1; k <= n; k++) { t = (s - sqrt(sum[k]) / 0.40782) / 0.1; if (t * t < 30) f += 14 * strength[k] * exp(-t * t / 2) }
            v[i] = f }
        srand(3); root = sqrt(1.012)
        for (y = 0; y < 512; y++) for (x = 0; x < 512; x++) { dx = (x - 257.3) / root; dy = (y - 254.6) * root
            f = v[int(10 * sqrt(dx * dx + dy * dy) + 0.5)]; f += sqrt(f) * (rand() + rand() + rand() - 1.5) * 2
            printf "%c", (f < 1 ? 1 : (f > 250 ? 250 : int(f))) } }'
}
{ tiff 512 512 && rings; } >au.tif
run pdf --json "${of[@]}" --kv 200 --standard Au --standard-file au.tif "$glass"
expect_code 0
expect_keys out.txt standard name file sha256 step_se_inv_nm rings worst_misfit ellipse_from
expect_out '"ellipse_source": "reference"'
expect_out "rings of Au in 'au.tif'"
checks=$((checks + 3))
grep -qF "\"sha256\": \"$(sha256sum au.tif | cut -d' ' -f1)\"" out.txt || fail "checksum of the standard"
grep -oE '"standard": [^}]*' out.txt | grep -oE '"step_inv_nm": [0-9.]+' | awk '{ exit !($2 > 0.05995 && $2 < 0.06005) }' || fail "scale of the standard"
grep -oE '"ellipse_ratio": [0-9.]+' out.txt | head -1 | awk '{ exit !($2 > 1.0105 && $2 < 1.0135) }' || fail "ellipse of the standard"
run pdf --json "${of[@]}" --ellipse-from "$glass" "$mro"
expect_code 0
expect_out '"standard": null'
expect_out "\"sha256\": \"$(sha256sum "$glass" | cut -d' ' -f1)\""
expect_out '"confounded_with_ellipse": false'
run pdf "${of[@]}" --standard Si --standard-file au.tif --no-auto-mask "$glass"
expect_code 1
expect_err "do not fit Si"
run pdf "${of[@]}" --standard Au "$glass"
expect_code 2
expect_err "--standard-file"
run pdf "${of[@]}" --standard Au --standard-file au.tif --step 0.06 "$glass"
expect_code 2
expect_err "not both"

# -- a stack has one geometry, and --each fits every frame
"$program" convert --to mrc -o . au.tif >/dev/null 2>err.txt
{ head -c 8 au.mrc && printf '\x05\x00\x00\x00' && tail -c +13 au.mrc && for _ in 1 2 3 4; do tail -c 262144 au.mrc; done; } >stack.mrc
run pdf --json --step 0.06 -o stack stack.mrc
expect_code 0
expect_file stack/stack.f0004.pdf.json
expect_file stack/stack.pdf.png
checks=$((checks + 3))
[ ! -e stack/stack.f0004.pdf.png ] || fail "a figure of every frame, unasked"
[ "$(grep -c '"frame": [0-4]' out.txt)" -eq 5 ] || fail "frames of the stack"
[ "$(grep -oE '"centre_px": \[[^]]*' out.txt | sort -u | wc -l)" -eq 1 ] || fail "one geometry for the stack"
run pdf --composition Au --step 0.06 --frames 0,1 -o alike stack.mrc
expect_code 0
checks=$((checks + 1))
! grep -q '>[^<]*[^a-z]nan[^a-z][^<]*<' alike/*.svg || fail "a figure says nan"
run pdf --json --each --frame-figures --step 0.06 -o each stack.mrc
expect_code 0
expect_file each/stack.f0004.pdf.png

# -- bad input: a sentence each
run pdf --composition Xx50Fe50 "$glass"
expect_code 2
expect_err "Xx"
run pdf --composition FE82B18 "$glass"
expect_code 2
expect_err "'Fe' is"
run pdf "${of[@]}" --kv 0.2 "$glass"
expect_code 2
expect_err "between 10 and 3000"
run pdf "${of[@]}" --json "$glass"
for option in kv step camera-length wavelength s-max fsdp connection-r; do # what is not given is no 0
    expect_out "\"$option\": {\"value\": null"
done
run pdf "${of[@]}" "$glass"
checks=$((checks + 1))
grep -qE ' 3\.0[0-9]{3} \+- 0\.00[0-9]{2} 1/A, 2\.5[0-9]{3} \+- 0\.00[0-9]{2} A ' out.txt || fail "no numbers with two figures of their errors"

run pdf --composition Fe82B18 --density 7.4 "$glass"
expect_code 2
expect_err "if it is in g/cm^3, give --density 93.3"
run pdf --density 7.4 "$glass"
expect_code 2
expect_err "from g/cm^3, times 602.2"
run pdf --json "${of[@]}" --r-max 150 --radiation electrons --abscissa s-nm profile.csv
expect_code 1
expect_one_line
expect_err "too far for G(r)"
head -60 profile.csv >short.csv
run pdf --radiation electrons --abscissa s-nm "${of[@]}" short.csv
expect_code 1
expect_one_line
awk -F, -v OFS=, 'NR == 50 { $2 = "nan" } 1' profile.csv >hole.csv
run pdf --radiation electrons --abscissa s-nm "${of[@]}" hole.csv
expect_code 1
expect_one_line
run pdf --composition Fe82B18 "$samples/AQ_0_corr.tif"
expect_code 1
run pdf --ellipse 3,0 "$glass"
expect_code 2
finish
