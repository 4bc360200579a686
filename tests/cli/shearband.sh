#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Shear bands end to end: numbers, files, options, bad input.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
image=$samples/stem/shearband.tif

run shearband --json --alpha 0.02 --surrogates 99 "$image"
expect_result shearband normal_azimuth_deg bands position_nm width_nm width_ci95 depth depth_ci95 normal_azimuth_ci95 \
    line_nm length_nm segments p_value p_segments edge_nm junctions verdict searched_width_nm position_from signal
expect_out '"algorithm": "shearband 2"'
expect_out '2 bands beyond chance'
expect_out 'widths are projected'
# Planted: bands of 12 and 25 nm at 60 and 140 nm, 5 and 4 % deep, the normal at 20.05 degrees.
checks=$((checks + 1))
grep -oE '"position_nm": [0-9.]+|"width_nm": [0-9.]+, "width_ci95"|"depth": [0-9.]+, "depth_ci95"' out.txt |
    grep -oE '[0-9.]+' | head -12 | grep -v '^95$' | tr '\n' ' ' |
    awk '{ exit !($1 > 59.4 && $1 < 60.8 && $2 > 11.4 && $2 < 12.6 && $3 > 0.046 && $3 < 0.054 &&
                  $4 > 139.4 && $4 < 140.8 && $5 > 24 && $5 < 26 && $6 > 0.037 && $6 < 0.043) }' ||
    fail "the bands are not those that were planted"
expect_again shearband --json --alpha 0.02 --surrogates 99 --threads 1 "$image"

run shearband --line 64,0,0,175 --thickness 60 --segments 8 --alpha 0.02 --surrogates 99 -o deep/results "$image"
expect_code 0
expect_out "12.0 nm (" # the band that the line lies on, not the gap beside it
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

# A lattice has stripes as well.
run convert --pixel 0.005 -o narrow "$image"
run shearband --alpha 0.02 --surrogates 99 narrow/shearband.tif
expect_out "  1: at 0.4 nm, normal at 20.1 degrees, width 0.07 nm (0.07 to 0.08), depth 5.0 % (4.8 to 5.2)"
expect_err "2 bands are 0.075 to 0.16 nm wide, a few spacings of atoms: fringes of a lattice make such stripes"
run convert --pixel 0.05 -o single "$image"
run shearband --alpha 0.02 --surrogates 99 single/shearband.tif
expect_err "the band at 3.8 nm is 0.75 nm wide, a few spacings of atoms"

run shearband --signal variance "$image"
expect_code 1
expect_one_line
expect_err "do not show the speckle"
run shearband --signal both "$image"
expect_code 2

# -- maps. map FILE SEED OUTSIDE INSIDE: counts of 64 x 64 pixels of 3.2 nm, other in the wider band than beside it
map() {
    awk -v seed="$2" -v out="$3" -v in_="$4" 'BEGIN { srand(seed); c = cos(0.349939); s = sin(0.349939); for (i = 0; i < 4096; i++) {
        t = (i % 64 + 0.5) * 3.2 * c + (int(i / 64) + 0.5) * 3.2 * s - 140; v = t > -12.5 && t < 12.5 ? in_ : out
        k = 0; for (p = 1; p > exp(-v); k++) p *= rand()
        printf "%c", (k > 127 ? 127 : (k < 2 ? 1 : k - 1)) } }' | tiff8 "$1" 64 64 5 16
}
map Fe.tif 1 80 72
map Si.tif 2 20 28
run shearband --json --alpha 0.02 --surrogates 99 --map Fe=Fe.tif --map Si=Si.tif --k Fe=1,Si=1 -o maps "$image"
expect_code 0
expect_json out.txt
expect_keys out.txt inside_at outside_at difference_at difference_ci95 p inputs role sha256
expect_out '"role": "map Fe", "file": "Fe.tif"'
expect_out '"k": {"value": "Fe=1,Si=1"}'
expect_file maps/shearband.shearband.elements.csv
expect_file maps/shearband.shearband.png
# From counts over atomic weights: 33.2 at.% Si beside the wider band and 43.6 in it; the other one is as the glass.
checks=$((checks + 1))
grep -oE '"Si": \{"inside_at": [^}]*\}' out.txt | tr -d '[],{}' | tr '\n' ' ' |
    awk '{ for (i = 1; i < NF; i++) if ($i ~ /"(inside_at|outside_at|difference_at|p)":/) v[++n] = $(i + 1)
        exit !(n == 8 && v[3] > -2.5 && v[3] < 2.5 && v[4] > 0.001 && v[5] > 42 && v[5] < 45 && v[6] > 32.2 && v[6] < 34.2 && v[7] > 9.2 && v[7] < 11.6 && v[8] < 1e-6) }' ||
    fail "the composition is not that which was planted"
run shearband --alpha 0.02 --surrogates 99 --map Fe,Si=Fe.tif "$image"
expect_code 1
expect_one_line
expect_err "names 2 elements"
map small.tif 1 80 72
run shearband --map-pixel 1.6 --map Fe=small.tif --map Si=Si.tif --surrogates 99 --alpha 0.02 "$image"
expect_code 1
expect_one_line
expect_err "not of one field"
cp "$MROSCOPE_TEST_DATA/Si110_5nmX25us_03_none_none.png" plain.png
run shearband --map Fe=plain.png --map Si=Si.tif "$image"
expect_code 1
expect_one_line
expect_err "--map-pixel"
run shearband --map Fe=missing.tif "$image"
expect_code 1
expect_one_line
for wrong in "--k Fe=1" "--at-maps" "--map-pixel 3" "--map Fe=Fe.tif --k Fe=x" "--map Fe=Fe.tif $image"; do
    # shellcheck disable=SC2086
    run shearband $wrong "$image"
    expect_code 2
    expect_one_line
done
mkdir clash
cp "$image" clash/a.tif
cp Fe.tif clash/a.shearband.band0.tif # a result never replaces a map
run shearband --alpha 0.02 --surrogates 99 --map Fe=clash/a.shearband.band0.tif -o clash clash/a.tif
expect_code 1
expect_one_line
checks=$((checks + 1))
cmp -s Fe.tif clash/a.shearband.band0.tif || fail "a result replaced a map"
printf 'file,state,kind\n%s,AQ,shearband\n' "$image" >maps.csv
run batch maps.csv -o session --shearband "--map Fe=Fe.tif"
expect_code 2
expect_one_line

# -- a session: the deepest band and the number of bands in its table, which states are compared by
printf 'file,state,kind\n%s,AQ,shearband\n' "$image" >session.csv
run batch session.csv -o session --shearband "--alpha 0.02 --surrogates 99"
expect_code 0
head -1 session/summary.csv >states.csv
awk 'NR == 2 { print; sub(",AQ,", ",B,"); print }' session/summary.csv >>states.csv
run compare --json states.csv
expect_code 0
expect_out '"metric": "shearband.bands.count", "metric_unit": ""'
expect_out '"metric": "shearband.bands.deepest.depth", "metric_unit": "relative"'
expect_out '"metric": "shearband.bands.deepest.width_nm", "metric_unit": "nm"'
checks=$((checks + 1)) # 12 nm and 5 %, which were planted, in their intervals
awk '/bands.deepest/ { width = /width_nm/; match($0, /"value": [-0-9.]+, "ci95": \[[-0-9., ]+\]/)
    split(substr($0, RSTART, RLENGTH), v, /[^-0-9.]+/); want = width ? 12 : 0.05
    n += v[3] == 95 && v[4] < v[2] && v[2] < v[5] && v[2] > 0.95 * want && v[2] < 1.08 * want && v[5] - v[4] < 0.2 * want }
    END { exit n != 2 }' out.txt || fail "not the deeper band with its intervals: $(cat states.csv)"

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
