#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# The report of a folder of results: one file that holds everything, the same bytes each time, and what is said of folders
# and results that are not as they should be. How it looks and works is tested in a browser (tests/browser).
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"

# row NUMBER FILE STATE STATUS VERB ITEM RESULT ERROR
row() {
    local results='[]' item=null error=null
    [ -n "$6" ] && item="\"$6\"" results="[\"$7\"]"
    [ -n "$8" ] && error="\"$8\""
    printf '{"row": %s, "file": "%s", "state": "%s", "strain": null, "kind": "hrtem", "specimen": null, "thickness_nm": 5, "value": null, "group": null, "element": null, "key": "0", "status": "%s", "error": %s, "verb": "%s", "item": %s, "results": %s}' \
        "$1" "$2" "$3" "$4" "$error" "$5" "$item" "$results"
}
# index FOLDER ROW...: writes FOLDER/index.json
index() {
    local folder=$1 comma=''
    shift
    {
        printf '{"schema": "mroscope.batch/1", "version": "0.1.0", "manifest": "session.csv", "rows": ['
        for r in "$@"; do
            printf '%s%s' "$comma" "$r"
            comma=', '
        done
        printf ']}'
    } >"$folder/index.json"
}
# lacks FILE TEXT
lacks() {
    checks=$((checks + 1))
    ! grep -qF -- "$2" "$1" || fail "$1 holds: $2"
}

mkdir -p results/items
run mro --kv 200 --cs -0.01 --surrogates 8 --quiet -o results/items/a "$samples/CTC30_e10_0_corr.tif"
expect_code 0
run haadf --black-level 0 --quiet --surrogates 299 -o results/items/b "$samples/stem/haadf_aged.tif"
expect_code 0
mkdir results/items/c results/items/d
printf '{"schema": "mroscope.mro/1", "file": "cut.tif", "fra' >results/items/c/cut.mro.json
# A verb that the report knows nothing of, and words that would end a script.
printf '{"schema": "mroscope.weave/1", "file": "x.tif", "image": 0, "frame": null, "pitch_nm": 2.5, "verdict": "</script><!-- & \xe2\x80\xa8 ]]>", "warnings": [], "provenance": {}}' >results/items/d/x.weave.json
good=$(row 2 'CTC30_e10_0_corr.tif' strained 'done' mro items/a items/a/CTC30_e10_0_corr.mro.json '')
index results "$good" "$(row 3 haadf_aged.tif aged 'done' haadf items/b items/b/haadf_aged.haadf.json '')" \
    "$(row 4 'x</script>.tif' '<b>' 'done' weave items/d items/d/x.weave.json '')" \
    "$(row 5 lost.tif aged failed mro '' '' "cannot open 'lost.tif'")" "$(row 6 later.tif aged pending mro '' '' '')"

run report results -o out
expect_code 0
expect_out 'out/report.html: 3 measured, 1 failed'
expect_file out/report.html
checks=$((checks + 3))
[ "$(ls -A out)" = report.html ] || fail "more than one file, and nothing to compare: $(ls -A out)"
[ "$(grep -c '<script' out/report.html)" -eq "$(grep -o '<script' out/report.html | wc -l)" ] || fail "a script inside a line"
[ "$(grep -o '<script>' out/report.html | wc -l)" -eq 1 ] || fail "scripts of others"
for text in 'http://' 'https://'; do # but for names of XML, which nothing is fetched by
    checks=$((checks + 1))
    [ "$(grep -oF "$text" out/report.html | wc -l)" -eq "$(grep -oF "${text}www.w3.org/2000/svg" out/report.html | wc -l)" ] || fail "an address: $text"
done
lacks out/report.html '<b>'
lacks out/report.html '<!--'
lacks out/report.html $'\xe2\x80\xa8'
lacks out/report.html innerHTML
for text in "default-src 'none'; img-src data:; script-src 'sha256-" '"status":"failed","error":"cannot open '"'lost.tif'"'"' '\u003c/script\u003e\u003c!-- \u0026 \u2028' \
    '"href":"../results/items/a/CTC30_e10_0_corr.mro.svg"' '"fraction_raw":0.1' 'id="blob-0"' '"title":"results"'; do
    checks=$((checks + 1))
    grep -qF -- "$text" out/report.html || fail "the page lacks $text"
done

# The same bytes again, over the old file; the heading and numbers as JSON.
cp out/report.html first.html
OMP_NUM_THREADS=1 run report -o out results
expect_code 0
expect_same out/report.html first.html
run report --json --title 'An <i>other</i> title' -o out results
expect_code 0
expect_json out.txt
expect_keys out.txt schema results measured failed pending left_out bytes
lacks out/report.html '<i>'

# Two states of one kind: their comparison, with its figures beside the page; another state to compare with.
mkdir -p two/items
cp -r results/items/a two/items/a
cp -r results/items/a two/items/b
sed -i 's/"input_sha256": "..../"input_sha256": "0000/' two/items/b/*.mro.json # another image, not a copy
index two "$(row 2 a.tif 'one </script>' 'done' mro items/a items/a/CTC30_e10_0_corr.mro.json '')" \
    "$(row 3 b.tif two 'done' mro items/b items/b/CTC30_e10_0_corr.mro.json '')"
run report two -o two_out
expect_code 0
for suffix in compare.csv hrtem.fraction.compare.json hrtem.fraction.compare.svg hrtem.fraction.compare.pdf; do expect_file "two_out/comparison/two.$suffix"; done
for text in '"metric":"fraction"' '"stem":"two.hrtem.fraction"' '"reference":"one \u003c/script\u003e"' '"sentence":"two / one'; do
    checks=$((checks + 1))
    grep -qF -- "$text" two_out/report.html || fail "the page lacks $text"
done
run report two -o two_out --reference two
expect_code 0
checks=$((checks + 1))
grep -qF '"reference":"two"' two_out/report.html || fail "another reference changes nothing"
run report two -o two_out --reference twoo
expect_code 2
expect_one_line
expect_err "did you mean 'two'?"

# A damaged result, one that is not there, and one of another verb are left out and named; the rest is shown.
index results "$good" "$(row 3 cut.tif aged 'done' mro items/c items/c/cut.mro.json '')" "$(row 4 gone.tif aged 'done' mro items/e items/e/gone.mro.json '')" \
    "$(row 5 other.tif aged 'done' haadf items/d items/d/x.weave.json '')"
run report results -o part
expect_code 1
expect_out 'part/report.html: 1 measured'
expect_err "row 3, 'cut.tif', is left out: "
expect_err "row 4, 'gone.tif', is left out: "
expect_err "row 5, 'other.tif', is left out: "
checks=$((checks + 1))
grep -qF "row 3, 'cut.tif', is left out: " part/report.html || fail "the page does not name what is missing"

# Damaged pictures and maps cost only themselves.
cp -r results maps
printf 'no picture' >maps/items/a/CTC30_e10_0_corr.mro.png
printf 'no map' >maps/items/a/CTC30_e10_0_corr.mro.whitened.tif
rm maps/items/a/CTC30_e10_0_corr.mro.spacing.tif
index maps "$good"
run report maps -o maps_out
expect_code 0
checks=$((checks + 1))
grep -qF 'CTC30_e10_0_corr.mro.png' maps_out/report.html && grep -qF '"left_out":[' maps_out/report.html || fail "a damaged picture is not told"

# Folders that are none.
run report missing -o out2
expect_code 1
expect_one_line
expect_err "'missing"
mkdir empty
run report empty -o out2
expect_code 1
expect_one_line
run report two -o new/out2 --reference twoo
expect_code 2
for made in out2 new; do
    checks=$((checks + 1))
    [ ! -e "$made" ] || fail "a report that failed left '$made'"
done
printf '{"schema": "mroscope.batch/1", "rows": [' >empty/index.json
run report empty -o out2
expect_code 1
expect_one_line
index empty
run report empty -o out2
expect_code 0
expect_out '0 measured'
run report results
expect_code 2
expect_one_line
run report -o out
expect_code 2
expect_one_line
run report results maps -o out
expect_code 2
expect_one_line

# A report that cannot be written leaves the old one as it is, and nothing half written.
if [ "$(id -u)" -ne 0 ]; then
    chmod a-w out
    run report maps -o out
    expect_code 1
    chmod u+w out
fi
cp out/report.html before.html
(
    ulimit -f 100
    "$program" report maps -o out >out.txt 2>err.txt
    echo $? >code.txt
)
code=$(cat code.txt)
expect_code 1
expect_err report.html
expect_same out/report.html before.html
checks=$((checks + 1))
[ "$(ls -A out)" = report.html ] || fail "left behind: $(ls -A out)"
(
    ulimit -f 200
    "$program" report two -o new/out >out.txt 2>err.txt
    echo $? >code.txt
)
code=$(cat code.txt)
expect_code 1
checks=$((checks + 1))
[ ! -e new ] || fail "left behind: $(find new)"

finish
