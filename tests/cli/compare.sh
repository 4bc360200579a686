#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# compare from tables and folders of results: sentences, keys, files, repeats, bad input.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"

# -- a table
cat >hard.csv <<'END'
file,state,strain (%),specimen,thickness_nm,hardness (GPa),modulus,comment
a.tif,AQ,,L1,20,8,100,good
b.tif,AQ,,L2,21,10,101,
c.tif,AQ,,L3,22,12,99,
d.tif,CTC30,0,L4,20,12,104,"a, b"
e.tif,CTC30,0,L5,21,15,n/a,
f.tif,CTC30,0,L6,22,18,103,
g.tif,CTC30_e04,4,L7,20,20,110,
h.tif,CTC30_e04,4,L8,21,24,111,
i.tif,CTC30_e04,4,L9,22,23,112,
END
run compare hard.csv
expect_code 0
expect_out "hardness, one number an image"
expect_out "CTC30 / AQ = 1.50 [0.95, 2.36], p = 0.2, n = 3 + 3"
expect_out "  3 + 3 images cannot reach a p below 0.1: CTC30, CTC30_e04" # once for both
expect_out "at equal thickness (nm)"
expect_out "hardness changes by +50 % [+5, +116] from strain 0 to 4 %, n = 6, p = 0.034"
expect_err "columns without numbers are left out: 'comment'"
expect_err "1 image without a value of modulus left out"
# a summary of a batch: intervals by their short names; frames, p values and errors are no metrics
cat >summary.csv <<'END'
file,state,frame,mro.fraction (part of area),mro.fraction_ci95_lo (part of area),mro.fraction_ci95_hi (part of area),mro.p_image,pdf.r_se,lattice.d_se_nm,lattice.strain.se (relative),band.normal_azimuth_deg
a.tif,A,0,0.1,0.08,0.12,0.001,0.1,0.01,0.002,30
b.tif,A,0,0.12,0.1,0.14,0.001,0.1,0.01,0.002,30
c.tif,B,0,0.2,0.18,0.22,0.001,0.1,0.01,0.002,30
d.tif,B,0,0.22,0.2,0.24,0.001,0.1,0.01,0.002,30
END
run compare --json summary.csv
expect_code 0
expect_out '"metric": "mro.fraction", "metric_unit": "part of area"'
expect_out '"value": 0.1, "ci95": [0.08, 0.12]'
checks=$((checks + 1))
[ "$(wc -l <out.txt)" -eq 1 ] || fail "more than the fraction was compared"
run compare -o left summary.csv
expect_code 0
expect_err "columns called as p values, standard errors or azimuths, which --metric can name, are left out: 'mro.p_image', 'pdf.r_se', 'lattice.d_se_nm', "
for ends in '_ci95_low _ci95_high' '_lo95 _hi95'; do # of older tables
    sed "s/_ci95_lo /${ends% *} /; s/_ci95_hi /${ends#* } /" summary.csv >old.csv
    run compare --json old.csv
    expect_out '"value": 0.1, "ci95": [0.08, 0.12]'
done
run compare --json --metric pdf.r_se summary.csv
expect_out '"metric": "pdf.r_se"'
# long names of states leave room for the end of a list
long='as quenched, and kept in a drawer for so many years that nobody knows where it came from'
awk -v long="$long" 'BEGIN {
    printf "state,m"
    for (i = 0; i < 60; i++) printf ",a long name of a number %d", i
    for (k = 0; k < 4; k++) {
        printf "\n\"%s\",%d", k < 2 ? long : "B", k + 1
        for (i = 0; i < 60; i++) printf ",%s", k < 2 ? i + k : ""
    }
    print ""
}' >many.csv
run compare many.csv
expect_code 0
checks=$((checks + 1))
grep -q "only, '$long', has a value of a long name of a number 0, .* and [0-9]* more$" err.txt || fail "a list of names is cut"
run compare "$samples/session.csv"
expect_code 1
expect_err "session.csv' has no column of numbers to compare; of a session, give the folder of results"
run compare --metric mro.fraction summary.csv
checks=$((checks + 1))
! grep -q 'left out' err.txt || fail "what was not asked for is told"
run compare --json hard.csv
expect_code 0
expect_json out.txt
expect_keys out.txt schema file frame warnings provenance metric reference states state x over over_unit n mean ratio ratio_ci95 p p_holm \
    p_smallest trend slope slope_ci95 jonckheere covariates images sentence identifiable input_sha256 seed
expect_out '"microscope": null' # a table says nothing of one
expect_out '"schema": "mroscope.compare/1"'
expect_out '"metric": "hardness", "metric_unit": "GPa"'
expect_out '"algorithm": "compare 1"'
checks=$((checks + 1))
[ "$(wc -l <out.txt)" -eq 2 ] || fail "one line a metric"
[ ! -s err.txt ] || fail "warnings beside --json"
cp out.txt one.txt
run compare --json hard.csv
expect_same out.txt one.txt
run compare --json --reference CTC30 --metric 'hardness (GPa)' --trend CTC30,CTC30_e04 hard.csv
expect_code 0
expect_out '"reference": "CTC30"'
expect_out '"state": "AQ"'
expect_out '"trend": {"value": "CTC30,CTC30_e04"}'

run compare -o out hard.csv
expect_code 0
for f in hard.compare.csv hard.compare.images.csv hard.hardness.compare.{json,png,svg,pdf} hard.modulus.compare.json; do
    expect_file "out/$f"
done
expect_json out/hard.hardness.compare.json
checks=$((checks + 2))
[ "$(wc -l <out/hard.compare.csv)" -eq 7 ] || fail "rows of the table"
grep -q '^,hardness,GPa,AQ,CTC30,0,3,3,15,' out/hard.compare.csv || fail "row of CTC30: $(cat out/hard.compare.csv)"

# over another column than the strain: it has a name and a unit, and one state alone is a series
printf 'state,temperature (K),Q1 (1/A)\n' >heat.csv
for t in 300:3.100 340:3.101 380:3.099 420:3.100 460:3.091 500:3.080 540:3.071 580:3.060; do
    echo "AQ,${t%:*},${t#*:}" >>heat.csv
done
run compare -o heat --over temperature heat.csv
expect_code 0
expect_out "from temperature 300 to 580 K, n = 8"
expect_out "it bends at temperature 42"
expect_file heat/heat.Q1.compare.png
checks=$((checks + 2))
[ ! -e heat/heat.temperature.compare.json ] || fail "compared by what the trend is over"
grep -q '^kind,metric,unit,file,state,specimen,temperature (K),setting' heat/heat.compare.images.csv || fail "head of the images"
run compare --json --over temperature heat.csv
expect_out '"over": "temperature", "over_unit": "K", "x": [300, 580]'
expect_out '"onset": {"onset": 42'
run compare heat.csv
expect_code 1
expect_err "one state only, 'AQ', has a value of temperature, Q1"
run compare --over colour heat.csv
expect_code 2
expect_err "'heat.csv' has no column 'colour' that a trend could be taken over; it has temperature, Q1"
printf 'state,thickness_nm,a\nA,5,1\nA,6,2\nB,9,3\nB,10,4\n' >thin.csv
run compare --over thickness_nm thin.csv
expect_code 2
expect_err "'thin.csv': thickness is what states are compared at, and no trend is taken over it"
expect_err "a column 'value: thickness (nm)'"
sed '1s/.*/state,value: thickness (nm),a/' thin.csv >over.csv
run compare over.csv
expect_code 0
expect_out "from thickness 5 to 10 nm, n = 4"

# a column named as in a session needs no option
sed 's/temperature (K)/value: temperature (K)/' heat.csv >series.csv
run compare series.csv
expect_code 0
expect_out "it bends at temperature 42"

# semicolons, a mark, decimal commas, another encoding, columns that tell settings apart
printf '\xef\xbb\xbfstate;H\xc3\xa4rte [GPa];cs\r\nAQ;9,0;0\r\nAQ;11,0;0\r\nAQ;18;1,2\r\nAQ;22;1,2\r\nB;18;0\r\nB;22;0\r\nB;36;1,2\r\nB;44;1,2\r\n' >de.csv
run compare de.csv
expect_code 0
expect_out "B / AQ = 2.00 [1.59, 2.52], p = 0.056, n = 4 + 4"
expect_err "images differ in cs"
run compare --ignore-settings de.csv
expect_code 0
expect_out "n = 4 + 4"
expect_err "as --ignore-settings says"
# a difference that is the foil's
printf 'state,thickness_nm,x\nA,5,1\nA,5,2\nA,5,3\nB,10,2\nB,10,4\nB,10,6\n' >foil.csv
run compare foil.csv
expect_code 0
expect_out "not identifiable: state and thickness (nm) coincide (A 5, B 10)"
# remarks on states name options too
printf 'state,specimen,x\nA,1,1\nA,2,2\nB,3,2\nB,4,4\n' >pieces.csv
run compare --paired pieces.csv
expect_code 0
expect_out "measure some in both, or leave out --paired"
# names are text, never markup, formulas or paths
printf 'state,"../x<b>"\n=1+1,1\n=1+1,2\nB,2\nB,3\n' >odd.csv
run compare -o odd odd.csv
expect_code 0
expect_file "odd/odd..._x_b.compare.json"
checks=$((checks + 1))
grep -q "\"'=1+1\"" odd/odd.compare.csv || fail "a formula in the table"

# -- a folder of results
result() { # NAME STATE STRAIN FRACTION LO HI CS [SHA256]
    mkdir -p "s/items/$1"
    printf '{"schema": "mroscope.mro/1", "frame": 0, "fraction": %s, "fraction_ci95": [%s, %s], "density_per_nm2": 0, "size_limit_nm": 1.5, "objects": [{"snr": 5}, {"snr": 7}], "dark": {"count": 3}, "provenance": {"input_sha256": "%s", "algorithm": "mro 1", "options": {"cs": {"value": %s, "unit": "mm"}, "pixel": {"value": %s}}}}\n' \
        "$4" "$5" "$6" "${8:-$1}" "$7" "$4" >"s/items/$1/$1.mro.json"
    rows="$rows${rows:+, }{\"row\": 2, \"file\": \"$1.tif\", \"state\": \"$2\", \"strain\": $3, \"kind\": \"hrtem\", \"specimen\": null, \"thickness_nm\": null, \"status\": \"done\", \"error\": null, \"verb\": \"mro\", \"item\": \"items/$1\", \"results\": [\"items/$1/$1.mro.json\"]}"
}
index() { printf '{"schema": "mroscope.batch/1", "version": "1", "manifest": "s.csv", "rows": [%s]}\n' "$rows" >s/index.json; }
session() {
    rm -rf s
    rows=
    result AQ_0 AQ 0 0.06 0.04 0.10 0
    result AQ_1 AQ 0 0.07 0.05 0.11 0
    result AQ_2 AQ 0 0.08 0.05 0.12 0
    result e10_0 e10 10 0.16 0.10 0.24 0
    result e10_1 e10 10 0.18 0.11 0.26 0
    result e10_2 e10 10 0.20 0.12 0.28 0
    result null_0 null null 0.0001 0 0.008 0
    result null_1 null null 0.0001 0 0.009 0
}
session
index
run compare -o results s
expect_code 0
expect_out "hrtem fraction, one number an image"
expect_out "e10 / AQ = 2.57 ["
expect_out "null / AQ = 0.00"
expect_out "fraction changes by +"
expect_err "the mean of AQ is zero"
expect_file results/s.hrtem.fraction.compare.png
run compare --json --metric objects.mean.snr --metric objects.count --metric dark.count s/
expect_code 0
expect_out '"metric": "objects.mean.snr"'
expect_out '"ratio": 1,'
# the value of a session, where its rows have no strain
sed 's/"strain": [a-z0-9]*,/"strain": null,/g; s/"schema"/"value_name": "dose", "value_unit": "e", "schema"/' s/index.json >index.tmp
for v in 1 2 3 10 11 12 0 0; do
    sed -i "0,/\"strain\": null, \"kind\"/s//\"strain\": null, \"value\": \"$v\", \"kind\"/" index.tmp
done
mv index.tmp s/index.json
run compare --metric fraction s
expect_code 0
expect_out "from dose 0 to 12 e, n = 8"
run compare --metric fraction --over strain s
expect_code 0
checks=$((checks + 1))
! grep -q " from " out.txt || fail "a trend over strain, which no row has"
expect_err "no trend is taken over strain, as no image has one: fill the column 'strain' of the session's table, then run 'mroscope batch' again"
printf 'state,size\nA,1\nA,1.1\nA,1.2\nB,2\nB,2.1\nB,2.2\n' >plain.csv
run compare --over strain plain.csv
expect_code 0
expect_err "no trend is taken over strain, as no row has one: write numbers into a column 'strain'"
run compare plain.csv
expect_code 0
expect [ ! -s err.txt ]
index
# a copy under another name is no second image
result again AQ 0 0.08 0.05 0.12 0 AQ_2
result wrong e10 0 0.08 0.05 0.12 0 AQ_2
index
run compare --metric fraction s
expect_code 0
expect_out "AQ     n = 3"
expect_out "e10    n = 3"
expect_err "'again.tif', is a copy of row 2, 'AQ_2.tif', and no second image"
expect_err "'wrong.tif' of state 'e10', is a copy of row 2, 'AQ_2.tif' of state 'AQ': correct the table"
session
# stacks, broken results, rows that failed: left out, and said so
rows="$rows, {\"row\": 10, \"file\": \"gone.tif\", \"state\": \"AQ\", \"kind\": \"hrtem\", \"status\": \"failed\", \"error\": \"gone.tif is cut short\", \"results\": []}"
index
echo '{"schema": "mroscope.mro/1", "fra' >s/items/AQ_2/AQ_2.mro.json
run compare --metric fraction s
expect_code 0
expect_out "AQ     n = 2"
expect_err "AQ_2.mro.json' is damaged"
expect_err "row 10, 'gone.tif', has no result: gone.tif is cut short"
# one place with two settings is one specimen
rm -rf s
rows=
for cs in 0 1; do
    lens=$([ $cs = 0 ] && echo corr || echo talos)
    for i in 0 1 2; do
        result "AQ_${i}_$lens" AQ null 0.0$((6 + i)) 0.04 0.12 $cs
        result "B_${i}_$lens" B null 0.$((15 + i)) 0.1 0.2 $cs
    done
done
index
run compare --metric fraction s
expect_code 0
expect_out "one number a specimen"
expect_out "n = 3 + 3"
expect_err "named like one place with two settings"
expect_err "images differ in cs"

# of shear bands the deepest that has a width, dark or bright, and its interval
mkdir -p bands/items
rows=
band() { # NAME STATE BANDS
    mkdir "bands/items/$1"
    printf '{"schema": "mroscope.shearband/1", "frame": 0, "bands": [%s], "provenance": {"input_sha256": "%s"}}\n' "$3" "$1" >"bands/items/$1/r.json"
    rows="$rows${rows:+, }{\"row\": 2, \"file\": \"$1.tif\", \"state\": \"$2\", \"kind\": \"shearband\", \"status\": \"done\", \"verb\": \"shearband\", \"item\": \"items/$1\", \"results\": [\"items/$1/r.json\"]}"
}
dark='{"width_nm": 12, "width_ci95": [11, 13], "depth": 0.02, "depth_ci95": [0.01, 0.03]}'
bright='{"width_nm": 25, "width_ci95": [24, 26], "depth": -0.04, "depth_ci95": [-0.05, -0.03]}'
border='{"width_nm": null, "width_ci95": null, "depth": 0.09, "depth_ci95": null, "at_border": true}'
band a A "$dark"
band b A "$dark, $bright, $border"
band c B "$bright"
band d B "$border"
band e B ""
printf '{"schema": "mroscope.batch/1", "version": "1", "manifest": "s.csv", "rows": [%s]}\n' "$rows" >bands/index.json
run compare --json bands
expect_code 0
expect_out '"metric": "bands.deepest.width_nm", "metric_unit": "nm"'
expect_out '"value": 12, "ci95": [11, 13]'
expect_out '"value": 25, "ci95": [24, 26]'
expect_out '"value": -0.04, "ci95": [-0.05, -0.03]'
expect_out '2 images without a value of bands.deepest.depth left out'
run compare --json --metric bands.count --metric bands.mean.depth bands
expect_code 0
expect_out '"value": 0.02333333333333333, "ci95": null' # no band's own

# -- bad input
session
index
run compare --metric fractoin s
expect_code 2
expect_one_line
expect_err "did you mean 'fraction'?"
run compare --metric objects.deepest.snr s
expect_code 2
expect_err "has no metric 'objects.deepest.snr'"
run compare --metric count s
expect_code 2
expect_err "did you mean"
run compare --metric hardnes hard.csv
expect_code 2
expect_err "did you mean 'hardness'?"
run compare --reference AK hard.csv
expect_code 2
expect_one_line
expect_err "did you mean 'AQ'?"
run compare --reference zzz hard.csv
expect_code 2
expect_err "it has AQ, CTC30, CTC30_e04"
run compare --trend AQ,x hard.csv
expect_code 2
run compare
expect_code 2
run compare hard.csv de.csv
expect_code 2
run compare nowhere
expect_code 1
expect_one_line
run compare out
expect_code 1
expect_err "no index.json"
expect_one_line
printf 'state,x\nA,1\nA,2\n' >one.csv
run compare one.csv
expect_code 1
expect_err "one state only, 'A'"
printf 'state,x,y\nA,1,\nA,2,\nB,,3\nB,,4\n' >none.csv
run compare none.csv
expect_code 1
expect_err "no number that is known for two states"
printf 'state,x\nA,1\nB,2\n' >single.csv
run compare single.csv
expect_code 0
expect_out "B / A = 2.00, n = 1 + 1"
expect_err "has one image"
printf 'state,x\nA,0\nA,0\nB,0\nB,0\n' >zero.csv
run compare zero.csv
expect_code 0
expect_out "B / A = not measured, p = 1"
printf 'state,x\nA,3\nA,3\nB,3\nB,3\n' >equal.csv
run compare equal.csv
expect_code 0
expect_out "B / A = 1.00, p = 1, n = 2 + 2"
printf 'state,x\nA,3\nA,three\nB,3\nB,3\n' >word.csv
run compare word.csv
expect_code 1
expect_err "line 3, column 'x' holds 'three', which is no number"
printf 'state,x\nA,3,4\nB,3\n' >long.csv
run compare long.csv
expect_code 1
expect_err "line 2 has 3 cells, the header 2"
printf 'x,y\n1,2\n' >nostate.csv
run compare nostate.csv
expect_code 1
expect_err "no column 'state'"
printf 'state,x,x\nA,1,2\nB,2,3\n' >twice.csv
run compare twice.csv
expect_code 1
expect_err "two columns 'x'"
: >empty.csv
run compare empty.csv
expect_code 1
run compare "$samples/AQ_0_corr.tif"
expect_code 1
expect_err "no table of text"
printf 'state,x\n' >rows.csv
run compare rows.csv
expect_code 1
expect_err "no rows"
run compare -o hard.csv/x hard.csv
expect_code 2
finish
