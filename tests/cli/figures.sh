#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The width of figures: pages as wide as asked for, with type of one size, and the same bytes at the default.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"

# pages MM PDF: the page is so wide, in points
pages() {
    checks=$((checks + 1))
    local width
    width=$(LC_ALL=C grep -aoE '/MediaBox \[ 0 0 [0-9.]+' "$2" | head -1 | grep -oE '[0-9.]+$')
    awk -v w="$width" -v mm="$1" 'BEGIN { d = w - mm * 72 / 25.4; exit !(d > -0.01 && d < 0.01) }' ||
        fail "$2 is '$width' points wide, not $1 mm"
}

# type SVG: letters of 6 points or more, and none that begins or ends off the page (left and right aligned ones)
type_of() {
    checks=$((checks + 1))
    awk -v name="$1" '
        match($0, /<svg [^>]* width="[0-9.]+/) { w = substr($0, RSTART, RLENGTH); sub(/.*"/, "", w); w += 0 }
        match($0, /<text x="[-0-9.]+"/) { x = substr($0, RSTART + 9, RLENGTH - 10) + 0
            if (x < 0 || x > w) { bad = 1; print name ": text at " x " of " w }
            match($0, /font-size="[0-9.]+/); size = substr($0, RSTART + 11, RLENGTH - 11) + 0
            if (size < 6) { bad = 1; print name ": type of " size " points" }
            n++ }
        END { exit bad || n < 5 }' "$1" || fail "type of $1"
}

# figure NAME VERB ARGS...: the figure `NAME.VERB` in one column, and twice in two
figure() {
    local stem=$1.$2
    shift
    run "$@" --quiet -o plain
    expect_code 0
    run "$@" --quiet --figure-width 180 -o wide
    run "$@" --quiet --figure-width 85 -o narrow
    expect_code 0
    for suffix in png svg pdf; do
        checks=$((checks + 1))
        cmp -s "plain/$stem.$suffix" "wide/$stem.$suffix" || fail "the default is not 180 mm: $stem.$suffix"
    done
    checks=$((checks + 1))
    cmp -s "plain/$stem.json" "narrow/$stem.json" || fail "the width of a figure changes the result: $stem"
    pages 180 "plain/$stem.pdf"
    pages 85 "narrow/$stem.pdf"
    type_of "plain/$stem.svg"
    type_of "narrow/$stem.svg"
}

figure AQ_0_corr mro --kv 200 --cs -0.01 "$samples/AQ_0_corr.tif"
figure AQ_0_corr bandpass "$samples/AQ_0_corr.tif"
figure haadf_ascast haadf --black-level 0 --surrogates 299 "$samples/stem/haadf_ascast.tif"
figure nanocrystal lattice --reference-d 0.2027 "$samples/stem/nanocrystal.tif"
figure eds_line eds "$samples/eds_line.csv"
figure saed_mro pdf --composition Fe82B18 --density 83 --draws 60 --kv 200 "$samples/stem/saed_mro.tif"
figure shearband shearband --alpha 0.02 --surrogates 99 "$samples/stem/shearband.tif"
figure hardness_14x14 indent --unit GPa --pitch 10um --bins x "$samples/stem/hardness_14x14.csv"
figure states.fraction compare "$samples/states.csv"

# -- refused
for wrong in 60 200 wide -85 8.5; do
    run bandpass --figure-width $wrong -o never "$samples/AQ_0_corr.tif"
    expect_code 2
    expect_one_line
    expect_err "--figure-width wants a number in mm between 80 and 190, not '$wrong'"
done
expect_not test -e never
run info --figure-width 85 "$samples/AQ_0_corr.tif" # which draws nothing
expect_code 2

# -- sessions: for all rows, and for those of one verb; the report draws its comparison likewise
printf 'file,state,kind\n%s,AQ,haadf\n%s,aged,haadf\n%s,AQ,indent\n' "$samples/stem/haadf_ascast.tif" \
    "$samples/stem/haadf_aged.tif" "$samples/stem/hardness_14x14.csv" >session.csv
run batch session.csv --quiet --figure-width 85 --haadf "--surrogates 299 --figure-width 120" -o session
expect_code 0
for pdf in session/items/haadf_*/*.haadf.pdf; do pages 120 "$pdf"; done
for pdf in session/items/hardness_*/*.indent.pdf; do pages 85 "$pdf"; done
run report session --figure-width 90 -o report
expect_code 0
for pdf in report/comparison/*.pdf; do pages 90 "$pdf"; done

finish
