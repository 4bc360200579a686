#!/usr/bin/env bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Frames of a stack are measured side by side, and so are files of a single one: the same bytes however many are. Of a
# stack it goes as far as the first that fails, of files past it.
# shellcheck source=lib.bash
. "$(dirname "${BASH_SOURCE[0]}")/lib.bash"
image=$samples/AQ_0_corr.tif

# alike VERB ARGS...: three lanes print and write what one does
alike() {
    local verb=$1
    shift
    run "$verb" --json --device cpu --threads 1 -o one "$@"
    expect_code 0
    cp out.txt one.txt
    run "$verb" --json --device cpu --threads 3 -o three "$@"
    expect_code 0
    expect_same out.txt one.txt
    checks=$((checks + 1))
    diff -r one three >diff.txt || fail "files of $verb differ: $(head -3 diff.txt)"
    rm -r one three
}

# Frames of the sample, each further down.
tail -c $((800 * 800 * 2)) "$image" >rows.raw
{
    stack16 5 800 260 50 1
    for i in 0 1 2 3 4; do tail -c +$((i * 100 * 1600 + 1)) rows.raw | head -c $((800 * 260 * 2)); done
} >wide.tif
{
    stack16 6 48 48 2 1
    for i in 0 1 2 3 4 5; do tail -c +$((i * 16000 + 1)) rows.raw | head -c $((48 * 48 * 2)); done
} >small.tif
run mro --json --surrogates 8 --threads 1 wide.tif
expect_code 0
cp out.txt one.txt
run mro --json --surrogates 8 --threads 3 wide.tif
expect_same out.txt one.txt
checks=$((checks + 1))
[ "$(grep -o '"frame": [0-9a-z]*' out.txt | tr '\n' ' ')" = '"frame": 0 "frame": 1 "frame": 2 "frame": 3 "frame": 4 "frame": null ' ] ||
    fail "frames out of order"
alike haadf --band 0.2,0.9 --surrogates 299 --frames 1,3-5 small.tif
run haadf --json --device strict --threads 1 --band 0.2,0.9 --surrogates 299 small.tif
expect_code 0
cp out.txt one.txt
run haadf --json --device strict --threads 3 --band 0.2,0.9 --surrogates 299 small.tif
expect_same out.txt one.txt

# -- a frame in the middle that cannot be read: those before it have their results, those after it none
pages=7 bad=4
for k in $(seq 0 35); do printf '\177' && tail -c +$((k * 128 + 1)) rows.raw | head -c 128; done >packed.raw # as PackBits
{
    printf 'II' && u16 42 && u32 8
    for i in $(seq 0 $((pages - 1))); do
        bytes=4644
        [ "$i" -eq $bad ] && bytes=4000
        u16 9
        tag 256 4 1 48 && tag 257 4 1 48 && tag 258 3 1 16 && tag 259 3 1 32773 && tag 262 3 1 1
        tag 273 4 1 $((8 + pages * 114)) && tag 277 3 1 1 && tag 278 4 1 48 && tag 279 4 1 $bytes
        if [ "$i" -eq $((pages - 1)) ]; then u32 0; else u32 $((8 + (i + 1) * 114)); fi
    done
    cat packed.raw
} >torn.tif
for threads in 1 3; do
    run bandpass --json --pixel 0.1 --band 1,4 --threads $threads -o torn torn.tif
    expect_code 1
    cp err.txt err$threads.txt
    checks=$((checks + 4))
    [ "$(wc -l <out.txt)" -eq $bad ] || fail "expected a result of each frame before the bad one"
    [ "$(wc -l <err.txt)" -eq 1 ] || fail "expected one sentence"
    [ "$(find torn -name '*.json' | wc -l)" -eq $bad ] || fail "expected a file of each frame before the bad one"
    [ -z "$(find torn -name 'torn.f000[4-6]*')" ] || fail "files of frames that have no result"
    rm -r torn
done
expect_same err3.txt err1.txt

# -- results of an earlier run stay where a frame before theirs fails
run haadf --json --device cpu --threads 3 --band 0.2,0.9 --surrogates 299 -o kept small.tif
expect_code 0
rm kept/small.f0002.haadf.png
mkdir kept/small.f0002.haadf.png
find kept -name 'small.f000[345]*' -exec md5sum {} + | sort >kept.txt
run haadf --json --device cpu --threads 3 --band 0.2,0.9 --surrogates 299 --seed 5 -o kept small.tif
expect_code 1
expect_err "cannot write 'kept/small.f0002.haadf.png'"
find kept -name 'small.f000[345]*' -exec md5sum {} + | sort >now.txt
expect_same now.txt kept.txt
checks=$((checks + 1))
[ -z "$(find kept -name '.*' -type f)" ] || fail "files left behind: $(find kept -name '.*' -type f | head -3)"

# -- files: in their order, with one among them that is larger, one of several frames and one that is none
for i in 0 1 2 3 4; do
    {
        stack16 1 48 48 2 1
        tail -c +$((i * 16000 + 1)) rows.raw | head -c $((48 * 48 * 2))
    } >"file$i.tif"
done
{
    stack16 1 96 80 2 1
    head -c $((96 * 80 * 2)) rows.raw
} >larger.tif
echo "no image" >none.tif
order="file0.tif file1.tif larger.tif file2.tif none.tif small.tif file3.tif file4.tif"
for threads in 1 3; do
    # shellcheck disable=SC2086
    run haadf --json --device cpu --threads $threads --band 0.2,0.9 --surrogates 299 -o files$threads $order
    expect_code 1
    cp out.txt out$threads.txt
    cp err.txt err$threads.txt
done
expect_same out3.txt out1.txt
expect_same err3.txt err1.txt
expect diff -r files1 files3
expect [ "$(grep -o '"file": "[a-z0-9.]*"' out3.txt | uniq | cut -d '"' -f 4 | tr '\n' ' ')" = "${order/none.tif /} " ]
expect [ "$(wc -l <err3.txt)" -eq 1 ]
expect [ -z "$(find files3 -name '.*' -type f)" ]

# -- patterns in turns, which take different tables of transforms and kernels
patterns=()
for i in 0 1 2 3; do
    for kind in glass mro; do
        ln -s "$samples/stem/saed_$kind.tif" "$kind$i.tif"
        patterns+=("$kind$i.tif")
    done
done
alike pdf --composition Fe82B18 --density 83.3 --draws 60 --kv 200 "${patterns[@]}"

finish
