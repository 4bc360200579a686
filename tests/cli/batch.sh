#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# A whole session: what is measured, what is not measured again, and what is left when it is stopped in the middle.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"

items() { find "$1/items" -mindepth 1 -maxdepth 1 -type d | wc -l; }
# nothing_half_made DIR: no half-made folder, no lock, no temporary file
nothing_half_made() {
    checks=$((checks + 1))
    [ -z "$(find "$1" -name '*.tmp' -o -name '*.lock' -o -name '.mroscope*')" ] || fail "left behind: $(find "$1" -name '*.tmp' -o -name '*.lock' -o -name '.mroscope*')"
}
# expect_alike A B: the same results, but for the paths that the checksums of inputs are kept under
expect_alike() {
    checks=$((checks + 1))
    diff -r -x inputs.json "$1" "$2" >diff.txt || fail "$1 and $2 differ: $(head -3 diff.txt)"
}

# small FILE N: the N-th piece of a sample as an image of 48 x 48 pixels
u16() { printf '%b' "$(printf '\\x%02x' $(($1 & 255)) $(($1 >> 8 & 255)))"; }
u32() { u16 $(($1 & 65535)) && u16 $(($1 >> 16)); }
tag() { u16 "$1" && u16 "$2" && u32 1 && u32 "$3"; }
{
    printf 'II' && u16 42 && u32 8 && u16 8
    tag 256 4 48 && tag 257 4 48 && tag 258 3 16 && tag 259 3 1 && tag 262 3 1 && tag 273 4 110 && tag 278 4 48 && tag 279 4 4608
    u32 0
} >header.bin
small() {
    { cat header.bin && tail -c $((4608 * ($2 + 1))) "$samples/AQ_0_corr.tif" | head -c 4608; } >"$1"
}
options=(--haadf "--surrogates 299" --eds "--draws 99")
session() { run batch "$1" "${options[@]}" --jobs 2 -o "$2" "${@:3}"; }

# -- a session
mkdir -p day/aged
names=(plain.tif 'with space.tif' 'größe.tif' 'aged/x.tif' 'aged/y.tif')
echo 'file;state;strain;kind;pixel_nm;thickness_nm;value' >day/session.csv
for i in "${!names[@]}"; do
    small "day/${names[$i]}" "$i"
    echo "${names[$i]//\//\\};s$((i % 2));$((i % 2)),5;haadf;0,1;;$i" >>day/session.csv
done
cp "$samples/eds_line.csv" day/line.csv
echo 'line.csv;s0;;eds-line;;30;' >>day/session.csv
touch -d '1 hour ago' day/*.* day/aged/*
run batch day/session.csv -o results --dry-run
expect_code 0
expect_out "6 to measure, 0 finished"
expect_not [ -e results ]
session day/session.csv results
expect_code 0
expect_out "6 of 6 measured (6 now, 0 before), 0 failed: results/summary.csv"
expect_out "warnings, which say what the numbers do not know: mroscope report results -o REPORT"
expect [ ! -s err.txt ]
expect [ "$(items results)" -eq 6 ]
nothing_half_made results
expect_json results/index.json
expect_keys results/index.json schema version manifest rows row file state strain kind specimen thickness_nm value group element \
    key status error verb item results
for record in results/items/*/record.json; do
    expect_json "$record"
    expect_keys "$record" schema key verb file sha256 size options warnings files
done
for text in '"schema": "mroscope.batch/1"' '"file": "größe.tif", "state": "s0", "strain": 0.5' '"row": 2,' '"thickness_nm": 30' \
    '"verb": "eds"' '"value": "4"' '"status": "done", "error": null, "item": "items/plain.'; do
    expect grep -qF "$text" results/index.json
done
expect grep -qF '"calibration": "session manifest"' results/items/x.*/x.haadf.json
expect grep -qF '"file": "aged/x.tif"' results/items/x.*/x.haadf.json
expect_file "$(echo results/items/with\ space.*/with\ space.haadf.png)"
expect [ "$(wc -l <results/summary.csv)" -eq 7 ]
expect grep -q '^file,state,strain,value,kind,specimen,thickness_nm,frame,haadf.contrast_sd (relative),' results/summary.csv
expect grep -q '^line.csv,s0,,,eds-line,,30,,' results/summary.csv

# -- again: nothing is measured, no byte changes; nor from another folder, nor as JSON
cp -a results before
session day/session.csv results
expect_code 0
expect_out "6 of 6 measured (0 now, 6 before), 0 failed"
expect_alike results before
expect [ "$(find results -newer before/summary.csv -name record.json | wc -l)" -eq 0 ]
(cd day && "$program" batch session.csv "${options[@]}" -o ../results --json >../out.txt 2>../err.txt)
expect_json out.txt
expect [ "$(grep -c '"status": "done"' out.txt)" -eq 6 ]
session day/session.csv results
expect_alike results before
run batch day/session.csv "${options[@]}" -o results --dry-run
expect_out "0 to measure, 6 finished"

# -- one process, in one go: the same bytes
run batch day/session.csv "${options[@]}" --jobs 1 --threads 1 --memory 1G -o single
expect_code 0
expect_alike results single

# -- damage is found, told and mended
truncate -s 100 "$(echo results/items/plain.*/plain.haadf.json)"
rm results/items/x.*/record.json
sleep 0.01
printf X | dd of="$(echo results/items/y.*/y.haadf.png)" bs=1 seek=500 conv=notrunc status=none
session day/session.csv results
expect_code 0
expect_out "6 of 6 measured (3 now, 3 before)"
expect_err "row 2: the result 'results/items/plain."
expect_err "plain.haadf.json has 100 bytes instead of"
expect_err "its record is missing or damaged"
expect_err "y.haadf.png has changed since it was written"
expect_alike results before

# -- other options: other items, and the index names those alone
run batch day/session.csv --haadf "--surrogates 300" --eds "--draws 99" -o results
expect_code 0
expect_out "(5 now, 1 before)"
expect [ "$(items results)" -eq 11 ]
expect [ "$(grep -c '"surrogates": {"value": 300' results/items/plain.*/record.json | grep -c ':1')" -eq 1 ]
expect [ "$(grep -c '"row"' results/index.json)" -eq 6 ]

# -- with nothing to read from and nowhere to write to
"$program" batch day/session.csv "${options[@]}" --quiet --jobs 1 -o closed <&- >&- 2>&-
expect_alike closed before

# -- parts of a session, and two processes at the same time: each file once
run batch day/session.csv "${options[@]}" -o parts --shard 1/2
expect_code 0
expect_out "3 of 3 measured (3 now"
expect [ "$(grep -c '"status": "pending"' parts/index.json)" -eq 3 ]
run batch day/session.csv "${options[@]}" -o parts --shard 2/2
expect_alike parts before
"$program" batch day/session.csv "${options[@]}" --jobs 1 -o both >first.txt 2>&1 &
session day/session.csv both
expect_code 0
wait $!
expect [ $? -eq 0 ]
expect [ $(($(sed -n 's/.*(\([0-9]*\) now.*/\1/p' first.txt) + $(sed -n 's/.*(\([0-9]*\) now.*/\1/p' out.txt))) -eq 6 ]
expect_alike both before

# -- single rows, rows as they are asked for, and what there is gathered
run batch day/session.csv "${options[@]}" -o asked --dry-run --json
expect_code 0
expect_json out.txt
expect [ "$(grep -c '"status": "pending"' out.txt)" -eq 6 ]
expect_not [ -e asked ]
run batch day/session.csv "${options[@]}" -o asked --rows 3,6-7
expect_code 0
expect_out "3 of 3 measured (3 now, 0 before), 0 failed: asked/summary.csv"
run batch day/session.csv "${options[@]}" -o asked --gather
expect_code 1
expect_out "3 of 6 measured (0 now, 3 before), 0 failed"
expect_err "3 of 6 are not measured yet"
cp asked/index.json index.json
run batch day/session.csv "${options[@]}" -o asked --rows - --jobs 1 < <(printf '%s\n' 2 3 5 2)
expect_code 0
expect_json out.txt
expect [ "$(sed 's/.*"row": \([0-9]*\),.*"status": "\([a-z]*\)".*/\1 \2/' out.txt | sort -u | tr '\n' ' ')" = "2 done 3 done 5 done " ]
expect_same asked/index.json index.json
run batch day/session.csv "${options[@]}" -o asked --rows - < <(printf '%s\n' 4 9)
expect_code 1
expect_out '"row": 4,'
expect_err "'day/session.csv' has no row '9'"
run batch day/session.csv "${options[@]}" -o asked --gather
expect_code 0
expect_out "6 of 6 measured (0 now, 6 before), 0 failed"
expect_alike asked before
nothing_half_made asked

# -- killed at some moments: finished results stay, the next run goes on, and the bytes are the same
for wait in 0.05 0.15 0.3; do
    "$program" batch day/session.csv "${options[@]}" --jobs 2 -o killed >/dev/null 2>&1 &
    victim=$!
    sleep "$wait"
    kill -9 "$victim" 2>/dev/null
    wait "$victim" 2>/dev/null
    [ -d killed/items ] && find killed/items -name record.json -not -path '*.tmp/*' -exec stat -c '%i %n' {} + 2>/dev/null | sort >"had-$wait.txt"
done
session day/session.csv killed
expect_code 0
find killed/items -name record.json -exec stat -c '%i %n' {} + | sort >has.txt
for wait in 0.05 0.15 0.3; do
    [ -e "had-$wait.txt" ] && expect [ -z "$(comm -23 "had-$wait.txt" has.txt)" ]
done
nothing_half_made killed
expect_alike killed before
# A process that measures is killed: its row fails with a sentence, the others are done, and the next run makes up for it.
"$program" batch day/session.csv "${options[@]}" --jobs 2 -o crash >out.txt 2>err.txt &
victim=$!
worker=
for _ in $(seq 500); do
    lock=$(find crash/items -name '*.lock' 2>/dev/null | head -1)
    worker=$(sed -n 's/.*"pid": \([0-9]*\),.*/\1/p' "${lock:-/dev/null}" 2>/dev/null)
    # Stopped, it cannot end its item meanwhile: it is in the midst of it.
    if [ -n "$worker" ] && kill -STOP "$worker" 2>/dev/null; then
        [ -e "$lock" ] && [ -d "${lock%.lock}.tmp" ] && break
        kill -CONT "$worker"
    fi
    sleep 0.005
done
touch "crash/.mroscope-$(hostname)-$worker.tmp" "crash/items/.mroscope-$worker-7.tmp" # as if it was writing these
kill -9 "$worker"
wait "$victim"
code=$?
expect_code 1
expect_out "5 of 6 measured (5 now, 0 before), 1 failed"
expect_err "the process that measured it was killed"
nothing_half_made crash
session day/session.csv crash
expect_code 0
expect_out "(1 now, 5 before)"
expect_alike crash before
# Ended by a signal: as the shell expects, and nothing half made.
for signal in TERM HUP; do # a shell without a terminal makes its jobs ignore INT
    "$program" batch day/session.csv "${options[@]}" --jobs 2 -o "ended-$signal" >/dev/null 2>err.txt &
    victim=$!
    for _ in $(seq 1000); do
        [ -n "$(find "ended-$signal" -name '*.lock' 2>/dev/null)" ] && break
        sleep 0.02
    done
    kill -s "$signal" "$victim"
    wait "$victim" 2>/dev/null
    code=$?
    expect_code $((128 + $(kill -l "$signal")))
    nothing_half_made "ended-$signal"
    expect_file "ended-$signal/index.json"
done

# -- a lock of a dead process is taken over, also of another machine once it is old; a fresh one is respected
mkdir -p locked/items
key=$(basename "$(echo before/items/plain.*)")
echo '{"pid": 4194305, "host": "'"$(hostname)"'", "start": 1}' >"locked/items/$key.lock"
mkdir "locked/items/$key.tmp"
echo rest >"locked/items/$key.tmp/rest.txt"
other=$(basename "$(echo before/items/x.*)")
echo '{"pid": 1, "host": "elsewhere", "start": 1}' >"locked/items/$other.lock"
touch -d '10 minutes ago' "locked/items/$other.lock"
held=$(basename "$(echo before/items/y.*)")
echo '{"pid": 1, "host": "elsewhere", "start": 1}' >"locked/items/$held.lock"
touch "locked/.mroscope-$(hostname)-4194305.tmp"
# One that runs here keeps its lock, however long it was silent: it may have been stopped.
lives=$(basename "$(echo before/items/with*)")
if [ -r /proc/$$/stat ]; then
    echo '{"pid": '$$', "host": "'"$(hostname)"'", "start": '"$(sed 's/.*) //' /proc/$$/stat | cut -d' ' -f20)"'}' >"locked/items/$lives.lock"
    touch -d '10 minutes ago' "locked/items/$lives.lock"
    touch -d '1 day ago' locked/.mroscope-elsewhere-1.tmp locked/items/.mroscope-1-0.tmp # of processes that died
    # One that has ended has no lock any more, although its parent never asks.
    bash -c 'sleep 0 & echo $! >zombie; exec sleep 60' &
    careless=$!
    for _ in $(seq 500); do
        dead=$(cat zombie 2>/dev/null) && grep -q ') Z' "/proc/$dead/stat" 2>/dev/null && break
        sleep 0.01
    done
    other=$(basename "$(echo before/items/größe.*)")
    echo '{"pid": '"$dead"', "host": "'"$(hostname)"'", "start": '"$(sed 's/.*) //' "/proc/$dead/stat" | cut -d' ' -f20)"'}' >"locked/items/$other.lock"
fi
"$program" batch day/session.csv "${options[@]}" -o locked >out.txt 2>err.txt &
victim=$!
for _ in $(seq 200); do
    [ "$(items locked)" -ge 4 ] && [ ! -e "locked/items/$key.tmp" ] && [ -z "$(find locked/items -name '*.tmp')" ] && break
    sleep 0.05
done
expect kill -0 "$victim" # it waits for the one that is held
expect_not [ -e "locked/items/$held" ]
expect_not [ -e "locked/items/$lives" ] || [ ! -r /proc/$$/stat ]
rm -f "locked/items/$held.lock" "locked/items/$lives.lock"
wait "$victim"
code=$?
expect_code 0
expect_alike locked before
nothing_half_made locked
[ -n "${careless-}" ] && kill "$careless"

# -- what a name can be: hidden, too long for the names of results; the others are told with it
mkdir names
small names/.hidden.tif 3
long=$(printf 'x%.0s' $(seq 210))
small "names/$long.tif" 4
printf '%s\n' file,state,kind,pixel_nm .hidden.tif,A,haadf,0.1 >names/session.csv
session names/session.csv named
expect_code 0
expect_file "$(echo named/items/.hidden.*/.hidden.haadf.json)"
echo "$long.tif,B,haadf,0.1" >>names/session.csv
run batch names/session.csv -o named
expect_code 1
expect_err "row 3: the name of the file has 214 bytes"

# -- a file that an option names counts by what is in it
mkdir hard
cp "$samples/stem/hardness_14x14.csv" hard/map.csv
printf 'file,state,kind\nmap.csv,A,indent\n' >hard/session.csv
for values in 1,2,3,2,1,2 1,2,3,2,1,2 1,2,3,2,1,9; do
    echo "$values" | tr , '\n' >hard/silica.csv
    run batch hard/session.csv --indent "--permutations 199 --reference silica.csv" -o harder
    expect_code 0
done
expect [ "$(items harder)" -eq 2 ]

# -- files that fail
mkdir bad
head -c 3000 day/plain.tif >bad/cut.tif
cp day/plain.tif bad/
cp "$samples/README.md" bad/text.tif
cat >bad/session.csv <<'END'
file,state,strain,kind,pixel_nm
cut.tif,A,,haadf,0.1
plain.tif,A,,haadf,0.1
text.tif,A,,haadf,
END
session bad/session.csv failing
expect_code 1
expect_out "1 of 3 measured (1 now, 0 before), 2 failed"
expect_err "mroscope: row 2: 'cut.tif'"
expect_err "mroscope: row 4: 'text.tif'"
expect [ "$(grep -c '"status": "failed", "error": "' failing/index.json)" -eq 2 ]
nothing_half_made failing
session bad/session.csv failing # tried again, and told again
expect_code 1
expect_out "(0 now, 1 before), 2 failed"
expect_err "row 2: 'cut.tif'"
cp day/plain.tif bad/cut.tif # mended
session bad/session.csv failing
expect_out "2 of 3 measured (1 now, 1 before), 1 failed"

# -- faults of the table, all at once; nothing is made
cat >faults.csv <<'END'
file,state,strain,kind,pixel_nm,frames,group,element,kv,strian
none.tif,A,,haadf,,,,,,
day/plain.tif,A,,hartem,,,,,,
day/plain.tif,A,,haadf,x,,,,,
day/plain.tif,B,,haadf,,,,,,
day/line.csv,A,,eds-line,,0-3,,,,
day/aged/x.tif,A,,eds-map,,,,Qq,,
day/aged/y.tif,A,,hrtem,,5-3,,,9999,
day/aged/x.tif,,,saed,,,,,,
END
run batch faults.csv -o nothing
expect_code 1
for text in "row 2: there is no file 'none.tif'" "row 3: 'hartem' is no kind; did you mean 'hrtem'?" "row 4: pixel_nm 'x' is no number" \
    "row 5: 'day/plain.tif' is the file of row 4 already" "row 6: frames are given" "row 7: maps need a group" \
    "row 7: 'Qq' is no element" "row 8: frames '5-3' is no list" "row 8: kv is 9999" "row 9: state is empty" \
    "did you mean 'strain'?" "nothing was measured"; do
    expect_err "$text"
done
expect_not [ -e nothing ]
for wrong in --shard=3/2 --shard=1 --rows=8 --rows=x --jobs=0 --haadf=--nonsense --haadf=--threads=x "--haadf='a"; do
    run batch day/session.csv -o nothing "$wrong"
    expect_code 2
done
for wrong in "--rows=- --shard=1/2" "--rows=- --dry-run" "--gather --rows=2" "--gather --shard=1/2" "--gather --dry-run"; do
    # shellcheck disable=SC2086 # two options
    run batch day/session.csv -o nothing $wrong
    expect_code 2
    expect_err "goes without"
done
run batch day/session.csv
expect_code 2
expect_err "--output DIR"
run batch day/session.csv -o nothing --haadf "file.tif"
expect_code 2
expect_one_line
run batch day/session.csv -o nothing --haadf "--checksum parts"
expect_code 2
expect_err "--checksum is not for --haadf: sessions go by the sums of whole files"
run batch none.csv -o nothing
expect_code 1
expect_one_line
expect_not [ -e nothing ]

# -- a disk that is full, and one that cannot be written to: one sentence
: >out.txt
{ (ulimit -f 8; "$program" batch day/session.csv "${options[@]}" --quiet -o full 2>&1 >/dev/null; echo "code $?") | cat; } >err.txt
code=$(sed -n 's/^code //p' err.txt)
expect_code 1
expect [ "$(grep -c '^mroscope: ' err.txt)" -eq 1 ]
expect_err "cannot write"
expect_err "run the same command again"
session day/session.csv full
expect_code 0
expect_alike full before
if [ -d /proc/self ]; then
    run batch day/session.csv -o /proc/results
    expect_code 2
    expect_one_line
fi

# -- memory: what does not fit in the share of one job is measured by itself, what does not fit at all is told
run batch day/session.csv "${options[@]}" --jobs 3 --memory 150M -o tight
expect_code 0
expect_alike tight before
run batch bad/session.csv "${options[@]}" --jobs 3 --memory 60M -o tight
expect_code 1
expect_err "row 2: 'cut.tif': measuring 48 x 48 pixels needs about"
expect_err "give a larger --memory"

# -- maps of one field are one measurement
mkdir field
for element in Fe Si; do
    small "field/$element.tif" 1
    echo "$element.tif,A,eds-map,0.5,f1,$element"
done >field/rows
small field/h.tif 2
{ echo 'file,state,kind,pixel_nm,group,element' && cat field/rows && echo 'h.tif,A,eds-map,0.5,f1,HAADF'; } >field/session.csv
run batch field/session.csv --eds "--draws 99" -o maps
expect_code 0
expect_out "1 of 1 measured"
expect [ "$(grep -c '"item": "items/Fe\.' maps/index.json)" -eq 3 ]
expect grep -qF '"inputs"' maps/items/Fe.*/record.json
run batch field/session.csv --eds "--draws 99" -o maps
expect_out "(0 now, 1 before)"
sed -i 's/^Si.tif,A,eds-map,0.5/Si.tif,A,eds-map,0.4/' field/session.csv
run batch field/session.csv -o maps
expect_code 1
expect_err "row 3: pixel_nm is 0.4, but row 2, the first of the same group, has another"

# -- a first manifest
mkdir -p init/AQ init/CTC_e4p5
cp day/plain.tif init/AQ/a_haadf.tif
cp "$samples/AQ_0_corr.tif" init/CTC_e4p5/b.tif
cp "$samples/eds_line.csv" init/
echo text >init/readme.txt
run batch --init init
expect_code 0
expect_out "3 rows; 1 other file is left out"
expect_out "mroscope batch init/session.csv --kv KV"
expect grep -q $'^AQ/a_haadf.tif,AQ,,haadf,,,,,,,,the file has no calibration: fill in pixel_nm\r$' init/session.csv
expect grep -q '^CTC_e4p5/b.tif,CTC_e4p5,4.5,hrtem,,,,,,,,the file says 0.02 nm a pixel (ImageJ)' init/session.csv
expect grep -q '^eds_line.csv,.*,eds-line,' init/session.csv
run batch --init init
expect_code 2
expect_err "is there already"
run batch --init init -o list.csv
expect grep -q '^init/AQ/a_haadf.tif,AQ,' list.csv
mkdir -p "init/items/g 4 %"
cp day/plain.tif "init/items/g 4 %/größe.tif"
cp "$samples/stem/hardness_14x14.csv" init/items/hardness.csv
head -c 300 day/plain.tif >init/items/cut.tif
(cd "init/items/g 4 %" && "$program" batch --init ../../items -o ../list.csv >../../../out.txt 2>../../../err.txt)
expect_out "2 rows; 1 other file is left out"
expect_err "warning: left out: '../../items/cut.tif'"
expect [ "$(head -c 7 init/items/list.csv)" = $'\xef\xbb\xbffile' ]
expect grep -q '^g 4 %/größe.tif,g 4 %,4,hrtem,' init/items/list.csv
expect grep -q '^hardness.csv,.*,indent,' init/items/list.csv
mkdir linked
ln -s "$samples/AQ_0_corr.tif" linked/a.tif
ln -s gone.tif linked/gone.tif
ln -s . linked/again
run batch --init linked
expect_code 0
expect_out "1 row."
expect grep -q '^a.tif,a,,hrtem,' linked/session.csv
run batch init/session.csv --dry-run
expect_code 0
expect_out "3 to measure, 0 finished"
# maps of a field are one measurement, with the image beside them; an image alone, or one of no element, is no map
mkdir -p "a field/one"
cp day/plain.tif "a field/one/EDS b_Fe.tif"
for name in one/EDS\ b_Si one/EDS\ b_HAADF eds_c_HAADF eds_d_Foo band_shearband; do
    cp day/plain.tif "a field/$name.tif"
done
run batch --init "a field"
expect_code 0
expect_out "mroscope batch 'a field/session.csv'"
expect grep -q '^one/EDS b_Fe.tif,one,,eds-map,,,,,one/EDS b,Fe,,' "a field/session.csv"
expect grep -q '^one/EDS b_Si.tif,one,,eds-map,,,,,one/EDS b,Si,,' "a field/session.csv"
expect grep -q '^one/EDS b_HAADF.tif,one,,eds-map,,,,,one/EDS b,HAADF,,' "a field/session.csv"
expect grep -q '^eds_c_HAADF.tif,c_HAADF,,haadf,,,,,,,,' "a field/session.csv"
expect grep -q '^eds_d_Foo.tif,d_Foo,,hrtem,' "a field/session.csv"
expect grep -q '^band_shearband.tif,band_shearband,,shearband,' "a field/session.csv"
run batch "a field/session.csv" --rows 2 -o "a field/results"
expect_code 1
expect_err "the pixel size of 'band_shearband.tif' is unknown; give it in the column pixel_nm of the table"
printf 'file,state,kind\nbare.tif,A,diffraction\n' >bare.csv
cp "$MROSCOPE_TEST_DATA/tiff/hopper_lzw.tif" bare.tif
run batch bare.csv -o bare
expect_code 1
expect_err "has no calibration in nm^-1; among the options of --pdf, give --step PER_NM"
run batch bare.csv -o bare --pdf "--camera-length 300"
expect_err "needs the voltage of the microscope; give it in the column kv of the table"

finish
